"""Truth, results and what becomes of them together: ranked lists as arrays over item numbers.

Lists of different length lie one behind the other (CSR): those of query ``i`` are ``start[i]:start[i + 1]``. Items are
numbers into an array of ids; distractors are never listed in a truth, so that its size does not depend on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.model import Finding

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Labels = NDArray[np.int8]
# Polygons of a region, each an array (points, 2) of x, y in pixels; by query and item.
Regions = Mapping[tuple[str, str], Sequence[Floats]]

# What an item is to a query; whatever a truth does not list is NEGATIVE, or unjudged where coverage says so.
LABELS = ("negative", "positive", "easy", "hard", "ignore", "junk")
NEGATIVE, POSITIVE, EASY, HARD, IGNORE, JUNK = range(len(LABELS))
# What is known of a query beside its id; columns of the table per query.
ABOUT = ("kind", "group", "category", "supercategory", "source")


class Truth(NamedTuple):
    """Which items answer which query. Pairs are sorted by query and item, and each stands once."""

    name: str
    queries: tuple[str, ...]
    items: pa.Array  # ids: all of the gallery if ``closed``, else at least those of the pairs
    query: Ints  # per pair, place among the queries
    item: Ints  # per pair, place among the items
    label: Labels  # per pair, place in LABELS
    gallery: int | None = None  # number of items searched; None: not known
    closed: bool = False  # an id that is not among the items is none of the gallery
    about: Mapping[str, Sequence[str | None]] = {}
    own: Ints | None = None  # per query, the item that it was cut from, or -1: it never answers itself
    values: Mapping[str, Floats] = {}
    elsewhere: Mapping[str, pa.Array] = {}
    other_names: pa.Array | None = None  # per item, what upstream calls it
    numbers: pa.Array | None = None  # per item, its number in submissions as text; null: it has none
    other_queries: Sequence[str] | None = None  # per query, what upstream calls it
    judged: Callable[[Ints, Ints], Bools] | None = None  # of queries and items in parallel; None: all pairs are
    regions: Regions | None = None  # outlines of the positives
    share: Floats | None = None  # per pair, the part of its picture that the object's box takes; NaN where not known

    @property
    def names(self) -> list[pa.Array]:
        """The ids of the items, and what else they may be called in results; in parallel."""
        return [self.items, *(names for names in (self.other_names, self.numbers) if names is not None)]

    def positives(self, labels: Sequence[int] = (POSITIVE, EASY, HARD)) -> Ints:
        """Per query, how many items have one of ``labels``."""
        counted: Ints = np.bincount(self.query[np.isin(self.label, labels)], minlength=len(self.queries))
        return counted

    def fingerprint(self) -> str:
        """SHA-256 over queries and pairs by their ids, size of the gallery and outlines; not over any order."""
        items = self.items.take(pa.array(self.item)).to_pylist()
        lines = [f"{self.queries[q]}\t{i}\t{LABELS[v]}" for q, i, v in zip(self.query, items, self.label, strict=True)]
        lines += [f"{query}\t\tquery" for query in self.queries]
        for (query, item), parts in (self.regions or {}).items():
            digest = hashlib.sha256(b"".join(np.asarray(part, "<f8").tobytes() + b";" for part in parts)).hexdigest()
            lines.append(f"{query}\t{item}\t{digest}")
        text = "\n".join([f"gallery {self.gallery}", *sorted(lines)])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def make_truth(
    name: str, queries: Sequence[str], items: Sequence[str] | pa.Array, query: Ints, item: Ints, label: Labels | Ints
) -> Truth:
    """A truth with its pairs put in order; of a pair given several times, the first in :data:`LABELS` from 1 counts."""
    query, item, codes = np.asarray(query, np.int64), np.asarray(item, np.int64), np.asarray(label, np.int8)
    order = np.lexsort((codes, item, query))
    query, item, codes = query[order], item[order], codes[order]
    first = np.ones(len(query), bool)
    first[1:] = (query[1:] != query[:-1]) | (item[1:] != item[:-1])
    ids = items if isinstance(items, pa.Array) else pa.array(items, pa.string())
    return Truth(name, tuple(queries), ids, query[first], item[first], codes[first])


class Results(NamedTuple):
    """Ranked lists as a file has them, best first."""

    name: str
    queries: tuple[str, ...]
    items: pa.Array  # the distinct ids named
    start: Ints
    item: NDArray[np.int32]  # place among the items
    score: Floats | None = None
    regions: Regions | None = None  # what was found in an item: outlines by query and item; empty for nothing
    findings: tuple[Finding, ...] = ()


class Ranking(NamedTuple):
    """Results seen with the eyes of a truth: one list per query of the results, in their order."""

    query: Ints  # per list, place among the truth's queries; -1: no query of it
    start: Ints
    item: NDArray[np.int32]  # place among the truth's items; foreign ones are numbered on from their end
    label: Labels
    score: Floats | None
    repeated: Bools  # per list, whether an item stands in it twice

    @property
    def lists(self) -> Ints:
        """Per entry, its list."""
        return np.repeat(np.arange(len(self.query)), np.diff(self.start))


def match(truth: Truth, results: Results) -> Ranking:
    """Find the results' ids in the truth, by its own names or by upstream's."""
    place = place_items(results.items, truth)
    foreign = place < 0
    place[foreign] = len(truth.items) + np.arange(foreign.sum())
    known = {name: i for i, name in reversed(list(enumerate(truth.other_queries or ())))}
    known |= {name: i for i, name in enumerate(truth.queries)}
    query = np.array([known.get(name, -1) for name in results.queries], np.int64)
    item = place.astype(np.int32)[results.item]
    label = np.zeros(len(item), np.int8)
    bounds = np.searchsorted(truth.query, np.arange(len(truth.queries) + 1))
    of_item = np.zeros(int(item.max(initial=-1)) + 1 + len(truth.items), np.int8)
    last = np.zeros(len(of_item), np.int32)
    repeated = np.zeros(len(query), bool)
    for i, q in enumerate(query):
        span = slice(results.start[i], results.start[i + 1])
        listed = item[span]
        position = np.arange(len(listed), dtype=np.int32)
        last[listed] = position
        repeated[i] = bool((last[listed] != position).any())
        if q >= 0:
            pairs = slice(bounds[q], bounds[q + 1])
            of_item[truth.item[pairs]] = truth.label[pairs]
            label[span] = of_item[listed]
            of_item[truth.item[pairs]] = NEGATIVE
    return Ranking(query, results.start, item, label, results.score, repeated)


def place_items(names: pa.Array, truth: Truth) -> Ints:
    """Where each of ``names`` stands among the truth's items, by any of their names; -1: nowhere."""
    place: Ints = np.full(len(names), -1, np.int64)
    for values in truth.names:
        if (place < 0).any():
            found = pc.fill_null(pc.index_in(names, value_set=values, skip_nulls=True), -1)
            place = np.where(place < 0, found.to_numpy(zero_copy_only=False).astype(np.int64), place)
    return place


def place_names(names: Sequence[str], within: Sequence[str]) -> Ints:
    """Where each of ``names`` stands in ``within``; -1: nowhere."""
    place = {name: i for i, name in enumerate(within)}
    return np.array([place.get(name, -1) for name in names], np.int64)


def with_missing(truth: Truth, ranking: Ranking) -> Ranking:
    """The ranking with an empty list for every query of the truth that has none."""
    absent = np.setdiff1d(np.arange(len(truth.queries)), ranking.query)
    return ranking._replace(
        query=np.concatenate([ranking.query, absent]),
        start=np.concatenate([ranking.start, np.full(len(absent), ranking.start[-1])]),
        repeated=np.concatenate([ranking.repeated, np.zeros(len(absent), bool)]),
    )


class Roles(NamedTuple):
    """What the labels of a truth mean in a protocol: the others are negatives."""

    positive: tuple[int, ...] = (POSITIVE, EASY, HARD)
    ignored: tuple[int, ...] = (IGNORE, JUNK)

    def table(self, labels: Sequence[int]) -> Bools:
        table = np.zeros(len(LABELS), bool)
        table[list(labels)] = True
        return table


class Hits(NamedTuple):
    """Where the positives stand in lists whose ignored items were taken out: all that the metrics need.

    ``rank`` counts from 1 and ascends within a list; entries of list ``i`` are ``start[i]:start[i + 1]``.
    """

    query: Ints  # per list, place among the truth's queries
    start: Ints
    rank: Ints
    listed: Ints  # per list, items left in it
    positives: Ints  # per list, positives that there are, listed or not
    end: Ints | None = None  # per hit, rank of the last item of its score (or of the cut); None: order as ranked
    k: int | None = None  # items below this rank were cut off
    item: Ints | None = None  # per hit, place among the truth's items

    @property
    def lists(self) -> Ints:
        """Per hit, its list."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    @property
    def nth(self) -> Ints:
        """Per hit, its number within its list, from 1."""
        nth: Ints = np.arange(len(self.rank)) - self.start[self.lists] + 1
        return nth

    def within(self, k: int) -> Ints:
        """Per list, hits at rank ``k`` or above."""
        counted: Ints = np.bincount(self.lists[self.rank <= k], minlength=len(self.query))
        return counted


Duplicates = Literal["first", "last", "all"]


def find_hits(
    truth: Truth,
    ranking: Ranking,
    roles: Roles = Roles(),  # noqa: B008 - immutable
    *,
    duplicates: Duplicates = "first",
    ties: Literal["ranked", "grouped"] = "ranked",
    k: int | None = None,
) -> Hits:
    """The positives of every list of a known query.

    Ignored items and the query's own image are taken out first. Of an item that stands twice, ``first`` takes later
    copies out, ``last`` keeps all and calls all but the last one a miss, ``all`` counts every copy. With ``k`` lists
    are cut there, and with ``grouped`` ties the hits know where their tie ends within the cut; scores must descend.
    """
    # Few entries are of any interest: time goes with these, and not with the length of the lists.
    marked = np.flatnonzero(ranking.label != 0)
    labels = ranking.label[marked]
    hits = marked[roles.table(roles.positive)[labels]]
    gone = [marked[roles.table(roles.ignored)[labels]], *_own_entries(truth, ranking)]
    if duplicates != "all" and ranking.repeated.any():
        extra = _copies(ranking, keep_first=duplicates == "first")
        if duplicates == "first":
            gone.append(np.flatnonzero(extra))
        hits = hits[~extra[hits]]
    removed = np.unique(np.concatenate(gone))
    hits = np.setdiff1d(hits, removed, assume_unique=True)
    lists = np.searchsorted(ranking.start, hits, side="right") - 1
    hits, lists = hits[ranking.query[lists] >= 0], lists[ranking.query[lists] >= 0]
    before = np.searchsorted(removed, ranking.start)  # entries taken out before each list begins
    rank = hits - ranking.start[lists] + 1 - (np.searchsorted(removed, hits) - before[lists])
    listed = np.diff(ranking.start) - np.diff(before)
    if k is not None:
        within = rank <= k
        hits, lists, rank, listed = hits[within], lists[within], rank[within], np.minimum(listed, k)
    end = None
    if ties == "grouped" and ranking.score is not None:
        ends = _tie_ends(ranking, hits)
        end = ends - ranking.start[lists] - (np.searchsorted(removed, ends) - before[lists])
        end = np.minimum(end, listed[lists])
    there = np.flatnonzero(ranking.query >= 0)
    per_list = np.bincount(lists, minlength=len(ranking.query))[there]
    query = ranking.query[there]
    positives = truth.positives(roles.positive)[query]
    start = np.concatenate([[0], np.cumsum(per_list)])
    return Hits(query, start, rank, listed[there], positives, end, k, ranking.item[hits].astype(np.int64))


def _own_entries(truth: Truth, ranking: Ranking) -> list[Ints]:
    """Entries that are the image which the query was cut from."""
    if truth.own is None or not (truth.own >= 0).any():
        return []
    own = np.where(ranking.query >= 0, truth.own[ranking.query], -1)
    return [np.flatnonzero(ranking.item == np.repeat(own, np.diff(ranking.start)))]


def _copies(ranking: Ranking, *, keep_first: bool) -> Bools:
    """Entries that repeat an item of their list: all but the first, or all but the last."""
    extra = np.zeros(len(ranking.item), bool)
    for i in np.flatnonzero(ranking.repeated):
        span = slice(ranking.start[i], ranking.start[i + 1])
        listed = ranking.item[span] if keep_first else ranking.item[span][::-1]
        once = np.zeros(len(listed), bool)
        once[np.unique(listed, return_index=True)[1]] = True
        extra[span] = ~once if keep_first else ~once[::-1]
    return extra


def _tie_ends(ranking: Ranking, hits: Ints) -> Ints:
    """Per hit, the entry behind the last one of its score in its list."""
    assert ranking.score is not None
    changes = np.ones(len(ranking.score) + 1, bool)
    np.not_equal(ranking.score[1:], ranking.score[:-1], out=changes[1:-1])
    changes[ranking.start] = True
    boundaries = np.flatnonzero(changes)
    ends: Ints = boundaries[np.searchsorted(boundaries, hits, side="right")]
    return ends

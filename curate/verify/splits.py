"""Q: splits, support sets, judgements, withheld labels and dates: what makes a benchmark's figures mean something."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.codes import Severity
from curate.columns import flags, plain, positions, whole
from curate.coverage import coverage_of
from curate.model import Finding, finding
from curate.relevance import POSITIVE
from curate.verify.queries import has_role, query_images
from curate.verify.records import as_published, cut_off
from curate.verify.subject import Ints, Mask, Subject, short

SEARCHED = ("gallery", "distractor")
IMPORT = "import"  # the command after which a source's counts are those of the tables
_HUMAN = "human:"


def _split(subject: Subject) -> pa.Array:
    """The split of each image: this dataset's, else the source's with its name; null where there is none."""
    own = subject.column("images", "split").cast(pa.string())
    found = subject.column("images", "source_split").cast(pa.string())
    sources = subject.column("images", "source").cast(pa.string())
    return whole(pc.coalesce(own, pc.binary_join_element_wise(sources, found, "/")))


def _codes(values: pa.Array | pa.ChunkedArray) -> Ints:
    """Numbers of equal values, -1 for null ``(n,)``."""
    codes: Ints = pc.fill_null(whole(values).dictionary_encode().indices, -1).to_numpy().astype(np.int64)
    return codes


def _spanning(groups: pa.ChunkedArray, parts: pa.Array) -> Iterator[tuple[str, list[str], list[int]]]:
    """Groups whose rows are of several parts: name, parts, and the first row of each."""
    group, part = _codes(groups), _codes(parts)
    rows = np.flatnonzero((group >= 0) & (part >= 0))
    if not len(rows):
        return
    pairs, first = np.unique(group[rows] * (int(part.max()) + 1) + part[rows], return_index=True)
    owner = pairs // (int(part.max()) + 1)
    for one in np.unique(owner[1:][owner[1:] == owner[:-1]]).tolist():
        mine = sorted(rows[first[owner == one]].tolist())
        yield groups[mine[0]].as_py(), [parts[row].as_py() for row in mine], mine


def in_two_splits(subject: Subject) -> Iterator[Finding]:
    """Q03: one picture, by its content (SHA-256), in two splits."""
    for _, parts, rows in _spanning(subject.column("images", "sha256"), _split(subject)):
        names = [subject.item("images", row) for row in rows]
        listed = ", ".join(f"{name} in {part}" for name, part in zip(names, parts, strict=True))
        text = f"one picture (equal SHA-256) stands in {len(parts)} splits: {listed}; expected one"
        yield finding("Q03", subject.place("images", rows[-1], "split"), text, item=names[-1])


def sequence_in_two_splits(subject: Subject) -> Iterator[Finding]:
    """Q03, a warning for each: a sequence whose images are of several splits, so that near copies stand in both."""
    for name, parts, rows in _spanning(_sequences(subject), _split(subject)):
        text = f"sequence {short(name)} spans the splits {', '.join(parts)}; expected one split to a sequence"
        place = subject.place("images", rows[-1], "sequence")
        yield finding("Q03", place, text, item=subject.item("images", rows[-1]), severity="warning")


def _sequences(subject: Subject) -> pa.ChunkedArray:
    """The sequence of each image, with its source: two may use one name."""
    sources = subject.column("images", "source").cast(pa.string())
    return pc.binary_join_element_wise(sources, subject.column("images", "sequence").cast(pa.string()), "/")


def sequence_of_query_in_gallery(subject: Subject) -> Iterator[Finding]:
    """Q03, a warning for each: a sequence with a query and another image that is searched, where no split tells them
    apart (which the rule on splits says). A note, where the source's own protocol has it so."""
    severity: Severity = "info" if as_published(subject) else "warning"
    sequences = _sequences(subject)
    code, searched, asking = _codes(sequences), has_role(subject, *SEARCHED), query_images(subject)
    spans_splits = {name for name, _, _ in _spanning(sequences, _split(subject))}
    rows = np.flatnonzero(_with_another(asking, code) & searched)
    for row in rows[np.unique(code[rows], return_index=True)[1]].tolist():
        name = sequences[row].as_py()
        if name not in spans_splits:
            query = subject.item("images", int(np.flatnonzero(asking & (code == code[row]) & _but(row, len(code)))[0]))
            text = f"image {subject.item('images', row)} is searched, and query image {query} is of its sequence "
            text += f"{short(name)}; expected no sequence on both sides"
            place = subject.place("images", row, "sequence")
            yield finding("Q03", place, text, item=subject.item("images", row), severity=severity)


def _with_another(of: Mask, code: Ints) -> Mask:
    """Where another image ``of`` these has the same code; never where that is -1."""
    number = np.bincount(code[of & (code >= 0)], minlength=int(code.max(initial=-1)) + 2)
    found: Mask = (code >= 0) & (number[code] > of)
    return found


def _but(row: int, number: int) -> Mask:
    others = np.ones(number, bool)
    others[row] = False
    return others


def declared_counts(subject: Subject) -> Iterator[Finding]:
    """Q04: what ``dataset.json`` says an import found, against the tables."""
    info = subject.dataset.info if subject.dataset else None
    if info is None or info.command is None or info.command.verb != IMPORT:
        return
    counted = [(name, record.found) for name, record in sorted(info.sources.items()) if record.found]
    for name, found in counted if len(counted) == 1 else ():
        for table in ("images", "annotations"):
            declared, seen = getattr(found, table), subject.table(table).num_rows
            if declared is not None and declared != seen:
                text = f"{seen:,} {table}; expected {declared:,} as sources.{name}.found declares"
                yield finding("Q04", f"dataset.json, sources.{name}.found.{table}", text, item=name)


def contradicting_judgements(subject: Subject) -> Iterator[Finding]:
    """Q05: a pair of query and image judged positive and also junk or negative, of the same object or of no object."""
    table = subject.table("judgements")
    if table.num_rows < 2:
        return
    label = plain(table["label"])
    good = flags(pc.is_in(label, value_set=pa.array(POSITIVE, pa.string())))
    bad = flags(pc.is_in(label, value_set=pa.array(["junk", "negative"], pa.string())))
    pair = _codes(pc.binary_join_element_wise(plain(table["query_id"]), plain(table["image_id"]), "\0"))
    thing = _codes(table["annotation_id"])
    for code in sorted(set(pair[good].tolist()) & set(pair[bad].tolist())):
        here = pair == code
        of_good, of_bad = set(thing[here & good].tolist()), set(thing[here & bad].tolist())
        if not (of_good & of_bad or -1 in of_good | of_bad):
            continue  # an image may show the object, and another that is not it
        row = int(np.argmax(here & bad))
        query, image = table["query_id"][row].as_py(), table["image_id"][row].as_py()
        labels = " and ".join(sorted(set(label.filter(pa.array(here)).to_pylist())))
        text = f"image {image} is judged {labels} for query {query}; expected one of them"
        yield finding("Q05", subject.place("judgements", row, "label"), text, item=query)


def dates(subject: Subject) -> Iterator[Finding]:
    """Q06: distractors that may show what is searched for, and instances that are older than they may be.

    The cut-off is the date that the lineage states, else the first of the instances. A date that is too short to tell
    proves nothing; nor does one that clocks show which were never set.
    """
    stated = cut_off(subject)
    since = subject.column("instances", "exists_since").to_pylist()
    limit = stated or min((one for one in since if one), default=None)
    if limit is None:
        return
    for row, date in enumerate(since if stated else ()):
        if date and date[: len(limit)] < limit[: len(date)]:
            text = f"instance that exists since {short(date)}; expected none from before the cut-off {limit}"
            place = subject.place("instances", row, "exists_since")
            yield finding("Q06", place, text, item=subject.item("instances", row))
    rows = np.flatnonzero(has_role(subject, "distractor"))
    taken, evidence = (subject.column("images", name).to_pylist() for name in ("taken_at", "date_evidence"))
    unknown = list[int]()
    counts = {"proven": 0, "claimed": 0, "contradicted": 0}
    for row in rows.tolist():
        date = taken[row] or ""
        shared = min(len(date), len(limit))
        if not date or date[:10] in _UNSET or (date[:shared] == limit[:shared] and len(date) <= len(limit)):
            unknown.append(row)
        elif date[:shared] >= limit[:shared]:
            counts["contradicted"] += 1
            text = f"distractor of {short(date)}; expected one from before {limit}"
            text += ", the cut-off" if stated else ", when the first instance appeared"
            yield finding("Q06", subject.place("images", row, "taken_at"), text, item=subject.item("images", row))
        else:
            counts["proven" if evidence[row] == "proven" else "claimed"] += 1
    if unknown:
        text = f"{len(unknown):,} of {len(rows):,} distractors have no date that shows them to be older than {limit}; "
        text += "of the others " + ", ".join(f"{number:,} {name}" for name, number in counts.items())
        yield finding("Q06", subject.place("images", unknown[0], "taken_at"), text, severity="warning")


_UNSET = {"0000-00-00", "1970-01-01", "1980-01-01", "2000-01-01"}  # what a clock shows that nobody set


def withheld_truth(subject: Subject) -> Iterator[Finding]:
    """Q07: truth of a class on an image for which coverage says that it is withheld, but for what a query shows."""
    state = subject.column("coverage", "state")
    hidden = subject.table("coverage").filter(pc.equal(state, "withheld")) if len(state) else None
    if hidden is None or not hidden.num_rows:
        return
    image = subject.column("annotations", "image_id")
    sources, found = (subject.column("images", name).cast(pa.string()) for name in ("source", "source_split"))
    scope = whole(pc.binary_join_element_wise(sources, found, "/"))
    of_annotation = scope.take(pa.array(np.where(subject.image_index < 0, 0, subject.image_index)))
    category = subject.column("annotations", "category")
    keys = pc.binary_join_element_wise(plain(hidden["scope"]), plain(hidden["category"]), "\0")
    hit = np.zeros(len(image), bool)
    for place in (image, of_annotation):
        for name in (category, pa.array(["*"] * len(image), pa.string())):
            hit |= flags(pc.is_in(pc.binary_join_element_wise(place, name, "\0"), value_set=whole(keys)))
    for table in ("queries", "support"):
        hit &= positions(subject.column("annotations", "id"), subject.column(table, "annotation_id")) < 0
    for row in np.flatnonzero(hit & subject.truth & (subject.image_index >= 0)).tolist():
        name = category[row].as_py()
        text = f"truth of {short(name)} on an image whose labels are withheld; expected none in a public dataset"
        yield finding("Q07", subject.place("annotations", row, "category"), text, item=subject.item("annotations", row))


def support_in_gallery(subject: Subject) -> Iterator[Finding]:
    """Q08: an image of a support set that is searched too, by its id, its content (SHA-256) or its sequence."""
    table = subject.table("support")
    if not table.num_rows:
        return
    searched = np.append(has_role(subject, *SEARCHED), False)
    rows = positions(table["image_id"], subject.column("images", "id"))
    hashes = _codes(subject.column("images", "sha256"))
    copied, beside = (_with_another(searched[:-1], code) for code in (hashes, _codes(_sequences(subject))))
    seen: set[int] = set()
    for at, row in enumerate(rows.tolist()):
        if row in seen or row < 0 or not (searched[row] or copied[row] or beside[row]):
            continue
        seen.add(row)
        how = (
            "stands" if searched[row] else "has a copy (equal SHA-256)" if copied[row] else "has images of its sequence"
        )
        name = subject.item("images", row)
        text = f"support image {name} {how} in the gallery; expected it outside of what is scored"
        published = not (searched[row] or copied[row]) and as_published(subject)
        severity: Severity | None = "info" if published else None  # the source's own protocol has it so
        yield finding("Q08", subject.place("support", at, "image_id"), text, item=name, severity=severity)


def doubtful_rows(subject: Subject) -> Ints:
    """Rows of judgements that are negative, not by a person, on images not exhaustive for the query's class."""
    table = subject.table("judgements")
    nothing = np.zeros(0, np.int64)
    if subject.dataset is None or not table.num_rows:
        return nothing
    asked = positions(table["query_id"], subject.column("queries", "id"))
    image = positions(table["image_id"], subject.column("images", "id"))
    negative: Mask = flags(pc.equal(plain(table["label"]), "negative")) & (asked >= 0) & (image >= 0)
    negative &= ~flags(pc.starts_with(plain(table["origin"]), _HUMAN))
    rows = np.flatnonzero(negative)
    if not len(rows):
        return nothing
    coverage = coverage_of(subject.dataset)
    category = subject.column("queries", "category").take(pa.array(asked[rows]))
    doubtful: Ints = rows[~coverage.at(image[rows], coverage.codes(category))]
    return doubtful


def doubtful_negatives(subject: Subject) -> Iterator[Finding]:
    """Q09, one for a class: negatives that nobody judged by eye, where coverage does not say that all is labelled."""
    rows = doubtful_rows(subject)
    if not len(rows):
        return
    asked = positions(subject.table("judgements")["query_id"].take(pa.array(rows)), subject.column("queries", "id"))
    category = subject.column("queries", "category").take(pa.array(asked))
    names = pc.fill_null(category, "").to_numpy(zero_copy_only=False)
    for name in sorted(set(names.tolist())):
        mine = rows[names == name]
        text = f"{len(mine):,} negatives of {short(name) if name else 'unknown class'} are on images whose labels are "
        text += "not exhaustive; expected exhaustive coverage, or a person's judgement"
        yield finding("Q09", subject.place("judgements", int(mine[0]), "label"), text)

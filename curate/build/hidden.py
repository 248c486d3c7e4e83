"""A hidden test: a dataset whose test labels are withheld, and its key, which the organisers keep.

* The public dataset knows nothing of the hidden labels: it is the same, to the byte, whatever they are. Annotations and
  judgements of hidden images are gone, coverage calls them ``withheld``, and what might tell of them elsewhere goes
  too: instances that nothing public names, words that only stood in hidden rows, counts, findings, attributes of the
  images, the folders that these lie in, and the lineage.
* What a query or a support set itself shows is public: the annotation that it names, and that its image shows what is
  asked for. All other labels of that image are withheld as those of any other. Where it is searched too, it stays in
  the gallery, and is passed over (``ignore``, judgements of the key) for the queries that ask for what it is known to
  show; where no role says what is searched, it is not.
* The key has the hidden images with their labels, and the queries that these answer. Nothing of the public dataset
  refers to it.
* Every hidden image that is searched has a number, the ``test_id`` in ``attributes.hidden`` of both: submissions name
  images by it (``curate evaluate submit``). Numbers are given in the order of SHA-256 of seed and id, which says
  nothing of labels.

Frames of public sources can be recovered, by their names or their pixels, and with them the labels that their source
publishes. So the key tells for each target how much of its truth public labels already imply; images with such truth
can be left out.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import relevance
from curate.build.members import has_role
from curate.build.upkeep import without_queries
from curate.columns import flags, plain, positions, whole
from curate.dataset import Dataset, conform, json_text
from curate.errors import SchemaError, UsageError
from curate.model import Command, Finding, Info, RelevanceRule, Step, finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

VERB = "build hidden"
_SEARCHED = ("gallery", "distractor")


class Share(NamedTuple):
    """How much of the hidden truth of a target public labels imply."""

    target: str
    images: int
    implied: int


class Hidden(NamedTuple):
    """What is published, what is kept, and what the public could know of it."""

    public: Dataset
    key: Dataset
    shares: list[Share]


def build_hidden(
    dataset: Dataset,
    *,
    splits: Sequence[str],
    seed: str = "0",
    private: Sequence[str] = (),
    exclude_implied: bool = False,
) -> Hidden:
    """Withhold the labels of the images of ``splits``.

    Args:
        splits: the ``split`` of this dataset, or where that is null the ``source_split``.
        seed: what the order of the numbers depends on.
        private: sources whose own labels were never published; labels of all others are taken to be public where they
            are the source's own (origin source), and so is what was refined from them.
        exclude_implied: leave out hidden images with truth that public labels imply; one that a query shows stays,
            and leaves the gallery.

    Raises:
        UsageError: no image is of one of ``splits``, or no source has one of the names in ``private``.
        SchemaError: the images of ``splits`` have no labels, none is left, or they answer no query.
    """
    ids = dataset.table("images")["id"]
    hidden = _of_splits(dataset, splits)
    unknown = sorted(set(private) - set(pc.unique(plain(dataset.table("images")["source"])).to_pylist()))
    if unknown:
        raise UsageError("--private", f"no image is of source {unknown[0]!r}")
    asked = _named_by_queries(dataset)
    searched = hidden & _searched(dataset, asked)
    if not searched.any() and not (hidden & ~asked).any():
        found = f"all of its {int(hidden.sum()):,} images are shown by queries or support sets, and none is searched"
        hint = "choose queries from other splits"
        raise SchemaError(f"split {', '.join(splits)}", found, "expected images that are searched", hint)
    known = _known(dataset)
    pairs = _truth(dataset, searched, known, private)
    implied = np.zeros(len(ids), bool)
    if exclude_implied:
        implied[pairs["image"].to_numpy()[flags(pairs["implied"])]] = True
        searched &= ~implied
        pairs = pairs.filter(pa.array(searched[pairs["image"].to_numpy()]))
    left_out = implied & ~asked
    hidden &= ~left_out
    judged = flags(_is_in(dataset.table("judgements")["image_id"], ids.filter(pa.array(hidden & searched))))
    if not pairs.num_rows and not judged.any():
        found = f"its {int(hidden.sum())} images show no {_rule(dataset).target} that is truth"
        found += ", but for what queries show" if (hidden & asked).any() else ""
        hint = "all of it is implied by public labels" if implied.any() else "were its labels withheld before?"
        raise SchemaError(f"split {', '.join(splits)}", found, "expected labels to withhold", hint)
    benchmark = _with_gallery(dataset, ids.filter(pa.array(searched)), ids.filter(pa.array(implied)))
    whole_set = benchmark.select_images(ids.filter(pa.array(~left_out)))
    attributes = _attributes(dataset, hidden, searched | ~asked, seed)
    shares = _shares(pairs)
    options = {"split": sorted(splits), "seed": seed, "private": sorted(private), "exclude-implied": exclude_implied}
    shown = int((hidden & asked).sum())
    counts = {"images": int(hidden.sum()), "truth of targets": pairs.num_rows, "left out": int(left_out.sum())}
    counts |= {"shown by queries or support sets": shown} if shown else {}
    truth = int(flags(pairs["implied"]).sum())
    steps = (Step(what="hidden", counts=counts), Step(what="implied by public labels", counts={"truth": truth}))
    command = Command(verb=VERB, options={name: value for name, value in options.items() if value}, steps=steps)
    hidden_ids = ids.filter(pa.array(hidden))
    info = dataset.child(f"{dataset.info.name}-key", command=command)
    kept = ids.filter(pa.array(hidden | asked))
    key = _key(benchmark.select_images(kept), ids.filter(pa.array(searched)), attributes, info)
    key = _passed_over(key, known)
    public = _public(whole_set, hidden_ids, attributes, sorted(splits))
    return Hidden(public, _noted(_answered(key, splits), shares, lost=_unanswered(key)), shares)


def _of_splits(dataset: Dataset, splits: Sequence[str]) -> Bools:
    images = dataset.table("images")
    split = pc.coalesce(plain(images["split"]), plain(images["source_split"]))
    known = sorted(pc.unique(split).drop_null().to_pylist())
    unknown = [name for name in splits if name not in known]
    if unknown or not splits:
        found = f"no image is of split {unknown[0]!r}" if unknown else "is missing"
        raise UsageError("--split", found, f"expected one of {', '.join(known) or 'none: there are no splits'}")
    return flags(_is_in(split, pa.array(splits)))


def _with_gallery(dataset: Dataset, searched: pa.ChunkedArray, implied: pa.ChunkedArray) -> Dataset:
    """The dataset, of which ``implied`` images leave the gallery; where there is none, ``searched`` images are it."""
    members = dataset.table("members")
    of_gallery = _is_in(members["role"], pa.array(_SEARCHED))
    if flags(of_gallery).any():
        if not len(implied):
            return dataset
        return dataset.replace(
            members=members.filter(pc.invert(pc.and_(of_gallery, _is_in(members["image_id"], implied))))
        )
    gallery = pa.table({"image_id": searched, "role": pa.repeat(pa.scalar("gallery"), len(searched))})
    return dataset.replace(members=pa.concat_tables([_only_words_used(members), gallery]))


def _searched(dataset: Dataset, asked: Bools) -> Bools:
    """The images that are searched; all but those that queries and support sets show, where no role says so."""
    searched = has_role(dataset, "gallery") | has_role(dataset, "distractor")
    return searched if searched.any() else ~asked


def _named_by_queries(dataset: Dataset) -> Bools:
    """The images that a query is cut from or a support set shows."""
    named = [whole(dataset.table(name)["image_id"]) for name in ("queries", "support")]
    named.append(whole(dataset.table("annotations")["image_id"].filter(_shown(dataset))))
    return flags(_is_in(dataset.table("images")["id"], pa.concat_arrays(named)))


def _shown(dataset: Dataset) -> Any:
    """The annotations that a query or a support set names."""
    named = [whole(dataset.table(name)["annotation_id"]) for name in ("queries", "support")]
    return _is_in(dataset.table("annotations")["id"], pa.concat_arrays(named))


def _known(dataset: Dataset) -> pa.Table:
    """What queries and support sets tell: ``image`` (position, and its ``id``) shows the ``target``, which ``what``
    calls a target or a group of queries; some of it several times."""
    asked, support, queries = relevance.targets(dataset), dataset.table("support"), dataset.table("queries")
    target = plain(asked["category"] if _rule(dataset).target == "category" else asked["target"])
    of_support = positions(support["query_id"], asked["query_id"])
    examples = [whole(column).take(pa.array(of_support, mask=of_support < 0)) for column in (target, queries["group"])]
    shown = dataset.table("annotations").filter(_shown(dataset))
    parts = [
        (asked["image_id"], "target", target),
        (support["image_id"], "target", examples[0]),
        (shown["image_id"], "target", plain(shown[_rule(dataset).target])),
        (asked["image_id"], "group", queries["group"]),
        (support["image_id"], "group", examples[1]),
    ]
    rows = [
        pa.table({"id": whole(id), "what": pa.repeat(what, len(id)), "target": whole(name)}) for id, what, name in parts
    ]
    known = pa.concat_tables(rows)
    image = positions(known["id"], dataset.table("images")["id"])
    known = known.append_column("image", pa.array(image))
    return known.filter(pc.and_(pa.array(image >= 0), pc.is_valid(known["target"])))


def _truth(dataset: Dataset, searched: Bools, known: pa.Table, private: Sequence[str]) -> pa.Table:
    """The pairs of hidden ``image`` (position) and ``target`` that are truth and not ``known`` from queries, and
    whether public labels ``implied`` them."""
    evidence = relevance.evidence(dataset, _rule(dataset))
    evidence = evidence.filter(pc.and_(evidence["positive"], pa.array(searched[evidence["image"].to_numpy()])))
    known = known.filter(pc.equal(known["what"], "target"))
    secret = pc.invert(_is_in(_pair(evidence["image"], evidence["target"]), _pair(known["image"], known["target"])))
    evidence = evidence.filter(secret)
    public = _public_labels(dataset, private)[evidence["row"].to_numpy()]
    rows = evidence.select(["image", "target"]).append_column("public", pa.array(public))
    pairs = rows.group_by(["image", "target"], use_threads=False).aggregate([("public", "any")])
    return pairs.rename_columns(["image", "target", "implied"])


def _pair(a: pa.ChunkedArray, b: pa.ChunkedArray) -> Any:
    return pc.binary_join_element_wise(a.cast(pa.string()), plain(b), "\0")


def _rule(dataset: Dataset) -> RelevanceRule:
    """The dataset's rule; of a dataset that knows no instances it is about classes, whatever its target is."""
    rule, instances = dataset.info.relevance, dataset.table("annotations")["instance"]
    has_instances = instances.null_count < len(instances)
    return rule if has_instances else msgspec.structs.replace(rule, target="category")


def _public_labels(dataset: Dataset, private: Sequence[str]) -> Bools:
    """Per annotation, whether it is its source's own, or refines one that is."""
    annotations, images = dataset.table("annotations"), dataset.table("images")
    source = whole(images["source"]).take(pa.array(positions(annotations["image_id"], images["id"])))
    own = flags(pc.equal(plain(annotations["origin"]), "source")) & ~flags(
        _is_in(source, pa.array(private, pa.string()))
    )
    parent = positions(annotations["parent_id"], annotations["id"])
    while True:  # a generation at a time; what is public stays so, and parents in a circle end it too
        more = own | np.where(parent >= 0, own[parent], False)
        if (more == own).all():
            return own
        own = more


def _shares(pairs: pa.Table) -> list[Share]:
    counted = pairs.group_by("target", use_threads=False).aggregate([("image", "count"), ("implied", "sum")])
    rows = zip(*(counted[name].to_pylist() for name in ("target", "image_count", "implied_sum")), strict=True)
    return sorted(Share(*row) for row in rows)


def _attributes(dataset: Dataset, hidden: Bools, numbered: Bools, seed: str) -> dict[str, str | None]:
    """The attributes of hidden images, as JSON by id: the number of those ``numbered``, and the path that SearchAD
    names them by."""
    images = dataset.table("images").filter(pa.array(hidden))
    ids: list[str] = images["id"].to_pylist()
    with_number = itertools.compress(ids, numbered[hidden].tolist())
    order = sorted(
        with_number, key=lambda id: hashlib.sha256(f"{seed}\0{id}".encode("utf-8", "surrogatepass")).digest()
    )
    number = {id: i for i, id in enumerate(order)}
    found: dict[str, str | None] = {}
    for id, text in zip(ids, images["attributes"].to_pylist(), strict=True):
        searchad = (json.loads(text) if text and '"searchad"' in text else {}).get("searchad") or {}
        path = {"searchad": {"path": searchad["path"]}} if "path" in searchad else {}
        told = ({"hidden": {"test_id": number[id]}} if id in number else {}) | path
        found[id] = json_text(told) if told else None
    return found


def _with_attributes(images: pa.Table, attributes: dict[str, str | None]) -> pa.Table:
    rows = zip(images["id"].to_pylist(), images["attributes"].to_pylist(), strict=True)
    column = pa.array([attributes.get(id, old) for id, old in rows], pa.large_string())
    return images.set_column(images.schema.get_field_index("attributes"), "attributes", column)


# ---------------------------------------------------------------------------------------------------- what is published


def _public(dataset: Dataset, hidden: pa.ChunkedArray, attributes: dict[str, str | None], splits: list[str]) -> Dataset:
    annotations, queries = dataset.table("annotations"), dataset.table("queries")
    annotations = annotations.filter(pc.or_(pc.invert(_is_in(annotations["image_id"], hidden)), _shown(dataset)))
    gone = pc.invert(_is_in(annotations["parent_id"], annotations["id"]))
    parents = pc.if_else(gone, pa.scalar(None, pa.string()), annotations["parent_id"])
    annotations = annotations.set_column(annotations.schema.get_field_index("parent_id"), "parent_id", parents)
    judgements = dataset.table("judgements")
    instances = dataset.table("instances")
    named = pa.concat_arrays([whole(table["instance"]) for table in (annotations, queries)])
    tables = {
        "images": _with_attributes(dataset.table("images"), attributes),
        "annotations": annotations,
        "judgements": judgements.filter(pc.invert(_is_in(judgements["image_id"], hidden))),
        "instances": instances.filter(_is_in(instances["id"], named)),
        "coverage": _withheld(dataset.table("coverage"), hidden),
    }
    sources = {name: msgspec.structs.replace(record, found=None) for name, record in dataset.info.sources.items()}
    info = msgspec.structs.replace(
        dataset.info,
        sources=sources,
        roots={},  # where somebody's images lie is nobody else's concern
        parents=(),
        headers={},
        command=Command(verb=VERB, options={"split": splits}),
    )
    everything = {name: dataset.table(name) for name in dataset.tables} | tables
    return Dataset(info, {name: _only_words_used(table) for name, table in everything.items() if table.num_rows})


def _withheld(coverage: pa.Table, hidden: pa.ChunkedArray) -> pa.Table:
    kept = coverage.filter(pc.invert(_is_in(coverage["scope"], hidden)))
    words = {"category": "*", "state": "withheld", "origin": VERB}
    rows = {name: pa.repeat(pa.scalar(word), len(hidden)) for name, word in words.items()}
    kept = pa.table({name: plain(kept[name]) for name in kept.column_names})
    return pa.concat_tables([kept, pa.table({"scope": whole(hidden), **rows})], promote_options="default")


def _only_words_used(table: pa.Table) -> pa.Table:
    """Repeated words as plain text, so that those of rows that are gone do not stay in a dictionary."""
    return pa.table({name: plain(table[name]) for name in table.column_names})


# ------------------------------------------------------------------------------------------------------------- the key


def _key(part: Dataset, searched: pa.ChunkedArray, attributes: dict[str, str | None], info: Info) -> Dataset:
    """Hidden images and those of queries, with all that is known of them; only hidden ones are searched."""
    members = part.table("members")
    kept = pc.or_(pc.invert(_is_in(members["role"], pa.array(_SEARCHED))), _is_in(members["image_id"], searched))
    images = _with_attributes(part.table("images"), attributes)
    return part.replace(info=info, images=images, members=members.filter(kept))


def _passed_over(key: Dataset, known: pa.Table) -> Dataset:
    """The key where nobody is scored by what queries tell: images are ignored for all that ask for what they show.

    These queries get judgements: what their annotations say of other images, and ``ignore`` for these.
    """
    searched = set(relevance.gallery(key).to_pylist())
    asked, queries = relevance.targets(key), key.table("queries")
    shown: dict[tuple[str, str], set[str]] = {}
    for image, what, name in zip(*(known[column].to_pylist() for column in ("id", "what", "target")), strict=True):
        shown.setdefault((what, name), set()).update({image} & searched)
    columns = (asked["query_id"], asked["image_id"], asked["target"], queries["group"])
    told = []
    for query, own, target, group in zip(*(column.to_pylist() for column in columns), strict=True):
        images = shown.get(("target", target), set()) | shown.get(("group", group), set())
        told += [(query, image) for image in sorted(images - {own})]
    if not told:
        return key
    asking, ignored = (pa.chunked_array([pa.array(side)]) for side in zip(*told, strict=True))
    rows = {"label": pa.repeat(pa.scalar("ignore"), len(told)), "origin": pa.repeat(pa.scalar(VERB), len(told))}
    new = pa.table({"query_id": asking, "image_id": ignored, **rows})
    listed = relevance.relevance(key, pc.unique(asking).to_pylist())
    listed = listed.filter(pc.invert(listed["judged"])).drop_columns(["judged"])
    listed = listed.append_column("origin", pa.repeat(pa.scalar(VERB), listed.num_rows))
    held = pa.concat_tables([key.table("judgements"), conform("judgements", listed)])
    others = pc.invert(_is_in(_pair(held["query_id"], held["image_id"]), _pair(asking, ignored)))
    judgements = pa.concat_tables([held.filter(others), conform("judgements", new)]).unify_dictionaries()
    return key.replace(judgements=judgements)


def _unanswered(key: Dataset) -> pa.ChunkedArray:
    """The queries without positive, which nobody can be scored by."""
    answers = relevance.overview(key)
    return answers.filter(pc.equal(answers["positive"], 0))["query_id"]


def _answered(key: Dataset, splits: Sequence[str]) -> Dataset:
    """The key without the queries that no hidden image answers."""
    lost, queries = _unanswered(key), key.table("queries").num_rows
    if queries and len(lost) == queries:
        found = f"its hidden images answer none of the {queries:,} queries"
        hint = "hide another split, or choose queries that its images answer"
        raise SchemaError(f"split {', '.join(splits)}", found, "expected truth that queries ask for", hint)
    return without_queries(key, lost)


def _noted(key: Dataset, shares: Sequence[Share], lost: pa.ChunkedArray) -> Dataset:
    """The key with what its organisers should know."""
    notes: list[Finding] = [
        finding(
            "Q10",
            f"{_rule(key).target} {share.target}",
            f"public labels imply {share.implied:,} of its {share.images:,} images, {share.implied / share.images:.0%}",
            item=share.target,
            hint="leave them out with --exclude-implied",
        )
        for share in shares
        if share.implied
    ]
    for query in lost.to_pylist():
        message = "no hidden image answers it; left out of the key"
        notes.append(finding("Q02", f"query {query}", message, item=query, severity="warning"))
    return key.replace(info=key.info, problems=notes)


def _is_in(column: pa.Array | pa.ChunkedArray, values: pa.Array | pa.ChunkedArray) -> Any:
    """Where ``column`` holds one of ``values``; never where it is null."""
    return pc.is_in(plain(column), value_set=whole(values).drop_null(), skip_nulls=True)

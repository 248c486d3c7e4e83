"""Gallery images of which nobody knows whether they answer a query: told, passed over, or left out.

An image without truth of a class is a negative only where coverage says so; elsewhere it is unjudged for the queries
of that class. Of those

* ``report`` counts them for each query, one finding (Q09) for each;
* ``ignore`` passes them over for that query alone: the query gets judgements, its positives and ignored images as its
  annotations have them, and these as ``ignore``;
* ``drop`` takes an image that is unjudged for any query out of the gallery, and then the queries that nothing answers.

Distractors stay, whatever is asked: that they show nothing of what is searched for is why they are there.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import relevance
from curate.build.members import has_role, roles_of
from curate.build.upkeep import without_queries
from curate.columns import positions, whole
from curate.dataset import Dataset, conform
from curate.errors import SchemaError, UsageError
from curate.model import Finding, Step, finding

Ints = NDArray[np.int64]
Unjudged = Literal["report", "ignore", "drop"]

_MOST = 50_000_000  # judgements that are written
_ORIGIN = "build split query-gallery"


def settle_unjudged(split: Dataset, how: Unjudged) -> tuple[Dataset, list[Step], list[Finding]]:
    """The split with its unjudged pairs as asked for, the steps, and what was lost; ``report`` changes nothing.

    Raises:
        SchemaError: ``drop`` leaves no query with a positive.
        UsageError: ``ignore`` would write more than 50 million judgements.
    """
    if how == "ignore":
        return _ignored(split)
    if how == "drop":
        return _dropped(split)
    return split, [], []


def tell_unjudged(answers: pa.Table) -> list[Finding]:
    """How many images are unjudged for each query, by ``relevance.overview``."""
    total = sum(answers[name].to_numpy() for name in answers.column_names[1:])
    told = []
    for query, unknown, of in zip(answers["query_id"].to_pylist(), answers["unjudged"].to_pylist(), total, strict=True):
        if unknown:
            text = f"{unknown:,} of {of:,} gallery images are unjudged for it: coverage does not call them exhaustive"
            hint = "--unjudged ignore or drop"
            told.append(finding("Q09", f"query {query}", text, item=query, severity="info", hint=hint))
    return told


def _ignored(split: Dataset) -> tuple[Dataset, list[Step], list[Finding]]:
    """Judgements for each query that has unjudged images."""
    distractor = has_role(split, "distractor")
    expected = int(pc.sum(relevance.overview(split)["unjudged"], min_count=0).as_py())
    if expected > _MOST:
        found = f"would write {expected:,} judgements"
        raise UsageError("--unjudged ignore", found, f"expected at most {_MOST:,}", "use drop, or fewer queries")
    names, parts = list[str](), list[Ints]()
    for name, rows in relevance.unjudged_rows(split):
        rows = rows[~distractor[rows]]
        if len(rows):
            names.append(name)
            parts.append(rows)
    step = Step(what="unjudged images passed over", counts={"queries": len(names), "pairs": sum(map(len, parts))})
    if not names:
        return split, [step], []
    ids, judgements = whole(split.table("images")["id"]), split.table("judgements")
    known = relevance.relevance(split, names)
    known = known.filter(pc.invert(known["judged"]))  # what is judged stands there already
    queries = pa.concat_arrays([pa.repeat(pa.scalar(name), len(rows)) for name, rows in zip(names, parts, strict=True)])
    passed = pa.table(
        {
            "query_id": queries,
            "image_id": ids.take(pa.array(np.concatenate(parts))),
            "label": pa.repeat(pa.scalar("ignore"), len(queries)),
            "origin": pa.repeat(pa.scalar(_ORIGIN), len(queries)),
        }
    )
    told = known.select(["query_id", "image_id", "label", "annotation_id"])
    told = told.append_column("origin", pa.repeat(pa.scalar(_ORIGIN), told.num_rows))
    added = conform("judgements", pa.concat_tables([told, passed], promote_options="default"))
    return split.replace(judgements=pa.concat_tables([judgements, added]).unify_dictionaries()), [step], []


def _dropped(split: Dataset) -> tuple[Dataset, list[Step], list[Finding]]:
    """Take gallery images that are unjudged for any query out, and then queries that nothing answers any more."""
    ids = split.table("images")["id"]
    distractor = has_role(split, "distractor")
    gallery = relevance.searched(split)
    doubtful = np.zeros(len(ids), bool)
    for _, unknown in relevance.unjudged_rows(split):
        doubtful[unknown] = True
    gallery &= distractor | ~doubtful
    own = positions(split.table("queries")["image_id"], ids)
    split = split.replace(**roles_of(split, own[own >= 0], gallery))
    answered = relevance.overview(split)
    lost = answered.filter(pc.equal(answered["positive"], 0))["query_id"]
    if not gallery.any() or len(lost) == answered.num_rows:
        raise SchemaError(
            f"dataset {split.info.name!r}",
            "no query keeps a positive when unjudged images are dropped",
            "expected coverage that calls images exhaustive for the classes that are searched for",
            "fill coverage (a review round), or use --unjudged report",
        )
    split = without_queries(split, lost)
    own = positions(split.table("queries")["image_id"], ids)
    split = split.replace(**roles_of(split, own[own >= 0], gallery))
    counts = {"gallery images": int(gallery.sum()), "dropped images": int((doubtful & ~distractor).sum())}
    counts |= {"queries": split.table("queries").num_rows, "queries without positive": len(lost)}
    message = "all gallery images that answer it are unjudged for another query; dropped"
    findings = [finding("Q02", f"query {name}", message, item=name, severity="warning") for name in lost.to_pylist()]
    return split, [Step(what="unjudged images dropped", counts=counts)], findings

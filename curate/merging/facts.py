"""What is known of the union beside its tables: sources, roots, headers of foreign files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.columns import plain, positions
from curate.dataset import Dataset
from curate.errors import SchemaError
from curate.merging.judgements import united_rule
from curate.merging.rows import EXPECTED, HINT, ContradictionError, joined, short
from curate.model import Command, Counts, Info, SourceRecord, Step


def united_info(datasets: Sequence[Dataset], labels: Sequence[str], conflicts: list[SchemaError], name: str) -> Info:
    versions = {dataset.info.version for dataset in datasets}
    sources: dict[str, SourceRecord] = {}
    roots: dict[str, str] = {}
    headers: dict[str, Any] = {}
    for dataset, label in zip(datasets, labels, strict=True):
        for source, record in dataset.info.sources.items():
            known = sources.get(source)
            sources[source] = record if known is None else _same_source(source, known, record, label, conflicts)
        roots = {**dataset.info.roots, **roots}
        headers = _same_headers(headers, dataset.info.headers, label, conflicts)
    return Info(
        name=name,
        version=versions.pop() if len(versions) == 1 else "0",
        sources=sources,
        roots=roots,
        command=Command(
            verb="merge",
            steps=tuple(Step(what=label, counts=d.counts()) for d, label in zip(datasets, labels, strict=True)),
        ),
        relevance=united_rule(datasets),
        headers=headers,
    )


def _same_source(
    source: str, a: SourceRecord, b: SourceRecord, label: str, conflicts: list[SchemaError]
) -> SourceRecord:
    united = {}
    for field in SourceRecord.__struct_fields__:
        left, right = getattr(a, field), getattr(b, field)
        if field != "found" and None not in (left, right) and left != right:
            found = f"{short(left)} in one before, {short(right)} in {label}"
            conflicts.append(SchemaError(f"source {source}, {field}", found, EXPECTED, HINT))
        united[field] = right if left is None else left
    return SourceRecord(**united)


def recounted(
    sources: Mapping[str, SourceRecord], datasets: Sequence[Dataset], tables: Mapping[str, pa.Table]
) -> dict[str, SourceRecord]:
    """Where the datasets found different counts of a source (other splits, say), what their union holds of it."""
    united = dict(sources)
    for source, record in sources.items():
        named = [d.info.sources[source].found for d in datasets if source in d.info.sources]
        found = [counts for counts in named if counts is not None]  # who only names its images has counted nothing
        images = tables["images"].filter(pc.equal(plain(tables["images"]["source"]), source))["id"]
        # Equal counts may be those of two splits: then there are more images than either of them found.
        if all(counts == found[0] for counts in found) and (len(found) < 2 or len(images) <= (found[0].images or 0)):
            continue
        annotations = int((positions(tables["annotations"]["image_id"], images) >= 0).sum())
        counts = Counts(images=len(images), annotations=annotations)
        if record.found is not None and record.found.instances is not None:
            own = pc.starts_with(tables["instances"]["id"], f"{source}/")
            counts = msgspec.structs.replace(counts, instances=int(pc.sum(own).as_py() or 0))
        united[source] = msgspec.structs.replace(record, found=counts)
    return united


def _same_headers(a: dict[str, Any], b: dict[str, Any], label: str, conflicts: list[SchemaError]) -> dict[str, Any]:
    try:
        return dict(joined(a, b, "headers"))
    except ContradictionError as fault:
        path, left, right = fault.args
        found = f"{short(left)} in one before, {short(right)} in {label}"
        conflicts.append(SchemaError(path, found, EXPECTED, "import the files under different names"))
        return a

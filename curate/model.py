"""The records of a dataset, as they pass the door: what each table's row means, field by field.

Conventions that hold everywhere:

* Pixels. Origin at the top-left corner of the top-left pixel, x to the right, y down. A box is ``x, y, w, h`` with
  exclusive right and bottom edge, in the frame that the annotations were made in (the stored, unrotated one unless a
  source says otherwise).
* An id is a string. An image's is ``source/key``, where the key does not depend on how an archive was unpacked; an
  annotation's is derived from its image's (``<image id>#<suffix>``). Ids never change through merge, subset or export.
* ``None`` means unknown or not applicable, never zero.

The Arrow schema of each table (``curate.dataset``) and the JSON Schemas in ``schemas/`` are derived from these types.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct

from curate.codes import CODES, Severity

SCHEMA_VERSION = "1.0"

# A string that repeats in many rows: kept as a dictionary column.
Word: TypeAlias = Annotated[str, Meta(extra={"arrow": "dictionary"})]
Attributes: TypeAlias = dict[str, Any]
# One ring: x0, y0, x1, y1, ...; not closed. A part: its outer ring, then its holes. An object: its parts.
Ring: TypeAlias = list[float]
Polygons: TypeAlias = list[list[Ring]]

Status = Literal["truth", "proposal", "rejected"]
CategoryRole = Literal["benchmark", "other", "ignore"]
CoverageState = Literal["exhaustive", "partial", "none", "withheld"]
QueryKind = Literal["image", "box", "mask", "text"]
Relevance = Literal["positive", "negative", "easy", "hard", "junk", "ignore"]
MemberRole = Literal["query", "gallery", "support", "distractor"]
DateEvidence = Literal["proven", "claimed"]


class Rle(Struct, frozen=True):
    """A mask as COCO's compressed run lengths (pycocotools' ``maskApi``): column-major, background run first."""

    size: Annotated[tuple[int, int], Meta(description="height, width of the mask in pixels")]
    counts: Annotated[str, Meta(description="COCO's compressed run lengths")]


class Image(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One picture, or one picture known by id only."""

    id: Annotated[str, Meta(description="source/key, unique")]
    source: Annotated[Word, Meta(description="name of the source that the image comes from")]
    source_split: Annotated[Word | None, Meta(description="split as found at the source")] = None
    split: Annotated[Word | None, Meta(description="split of this dataset")] = None
    file_name: Annotated[str | None, Meta(description="path relative to the source's root, with forward slashes")] = (
        None
    )
    width: Annotated[int | None, Meta(description="pixels; null where only an id is known")] = None
    height: Annotated[int | None, Meta(description="pixels; null where only an id is known")] = None
    orientation: Annotated[int | None, Meta(description="EXIF orientation 1..8; null if not stored")] = None
    sha256: Annotated[str | None, Meta(description="of the file's bytes, lower-case hex")] = None
    sequence: Annotated[Word | None, Meta(description="drive, video or burst that the image belongs to")] = None
    place: Annotated[Word | None, Meta(description="city or location")] = None
    taken_at: Annotated[str | None, Meta(description="ISO 8601 date or time of capture")] = None
    date_evidence: Annotated[DateEvidence | None, Meta(extra={"arrow": "dictionary"})] = None
    licence: Annotated[Word | None, Meta(description="licence as the source states it")] = None
    weather: Word | None = None
    time_of_day: Word | None = None
    attributes: Attributes | None = None


class Annotation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One labelled object or region, or one label of the whole image (then without box)."""

    id: Annotated[str, Meta(description="unique; derived from the image id")]
    image_id: str
    parent_id: Annotated[str | None, Meta(description="annotation that this one refines or is part of")] = None
    status: Annotated[Status, Meta(extra={"arrow": "dictionary"})] = "truth"
    category: Annotated[Word | None, Meta(description="at import the native label")] = None
    source_label: Annotated[Word | None, Meta(description="label as found, never changed")] = None
    instance: Annotated[str | None, Meta(description="id of the instance, set/number")] = None
    x: Annotated[float | None, Meta(description="left edge, pixels; null for a label of the whole image")] = None
    y: Annotated[float | None, Meta(description="top edge, pixels")] = None
    w: Annotated[float | None, Meta(description="width, pixels")] = None
    h: Annotated[float | None, Meta(description="height, pixels")] = None
    area: Annotated[float | None, Meta(description="square pixels, of the mask where there is one")] = None
    segmentation: Rle | None = None
    polygons: Annotated[Polygons | None, Meta(description="parts, each an outer ring and its holes")] = None
    iscrowd: Annotated[bool, Meta(description="a group that was not separated")] = False
    ignore: Annotated[bool, Meta(description="region that evaluation passes over")] = False
    origin: Annotated[Word, Meta(description="source, model:NAME or human:NAME")] = "source"
    score: float | None = None
    round: Annotated[int | None, Meta(description="review round that produced the row")] = None
    attributes: Attributes | None = None


class Category(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One class."""

    name: str
    supercategory: str | None = None
    role: CategoryRole = "benchmark"
    definition: Annotated[str | None, Meta(description="what counts and what does not")] = None


class Instance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One particular object that may appear in several images."""

    id: Annotated[str, Meta(description="set/number")]
    category: Word | None = None
    description: str | None = None
    taxonomy: Word | None = None
    exists_since: Annotated[str | None, Meta(description="ISO 8601 date since when the object has existed")] = None
    evidence: str | None = None


class Coverage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How completely a class was labelled: only ``exhaustive`` makes an image without truth a negative."""

    scope: Annotated[Word, Meta(description="an image id, or source/split")]
    category: Annotated[Word, Meta(description="class name, or * for all")]
    state: Annotated[CoverageState, Meta(extra={"arrow": "dictionary"})]
    origin: Word = "source"
    round: int | None = None


class Query(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to search for."""

    id: str
    kind: Annotated[QueryKind, Meta(extra={"arrow": "dictionary"})]
    group: Annotated[str | None, Meta(description="queries that ask for the same thing")] = None
    text: str | None = None
    image_id: str | None = None
    x: float | None = None
    y: float | None = None
    w: float | None = None
    h: float | None = None
    annotation_id: str | None = None
    instance: str | None = None
    category: Word | None = None


class Support(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One example in a query's support set."""

    query_id: str
    rank: int
    image_id: str | None = None
    x: float | None = None
    y: float | None = None
    w: float | None = None
    h: float | None = None
    annotation_id: str | None = None
    text: str | None = None


class Judgement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The relevance of one image for one query."""

    query_id: str
    image_id: str
    label: Annotated[Relevance, Meta(extra={"arrow": "dictionary"})]
    annotation_id: str | None = None
    origin: Word = "source"
    round: int | None = None


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A role that an image has in the benchmark; an image may have several."""

    image_id: str
    role: Annotated[MemberRole, Meta(extra={"arrow": "dictionary"})]


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something noticed: by an import (``problems.jsonl``) or by a rule of ``verify``."""

    code: Annotated[str, Meta(description="stable code, see curate/codes.py")]
    severity: Severity
    where: Annotated[str, Meta(description="file and place in it, or table and column")]
    message: Annotated[str, Meta(description="what was seen, and what was expected")]
    item: Annotated[str | None, Meta(description="id of the image, annotation or entry concerned")] = None
    hint: Annotated[str | None, Meta(description="what to do")] = None

    @property
    def title(self) -> str:
        return CODES[self.code][1]


def finding(
    code: str,
    where: object,
    message: str,
    *,
    item: str | None = None,
    hint: str | None = None,
    severity: Severity | None = None,
) -> Finding:
    """A finding with the severity that its code has by default."""
    return Finding(
        code=code, severity=severity or CODES[code][0], where=str(where), message=message, item=item, hint=hint
    )


class TableSpec(NamedTuple):
    """What a table's rows are, and the columns that name a row; tables are kept sorted by these."""

    record: type[Struct]
    key: tuple[str, ...]


TABLES: dict[str, TableSpec] = {
    "images": TableSpec(Image, ("id",)),
    "annotations": TableSpec(Annotation, ("id",)),
    "categories": TableSpec(Category, ("name",)),
    "instances": TableSpec(Instance, ("id",)),
    "coverage": TableSpec(Coverage, ("scope", "category")),
    "queries": TableSpec(Query, ("id",)),
    "support": TableSpec(Support, ("query_id", "rank")),
    "judgements": TableSpec(Judgement, ("query_id", "image_id", "annotation_id")),
    "members": TableSpec(Member, ("image_id", "role")),
}
# Every dataset has these; the others may be absent.
REQUIRED_TABLES = ("images", "annotations", "categories")

Record: TypeAlias = Image | Annotation | Category | Instance | Coverage | Query | Support | Judgement | Member | Finding


class Counts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Numbers to check an import against, as published or as found."""

    images: int | None = None
    annotations: int | None = None
    instances: int | None = None
    note: str | None = None


class Source(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The facts about a source: what it is, whose it is, and how its download looks."""

    title: str
    homepage: str
    licence: str
    citation: str
    download: Annotated[str, Meta(description="what to download, and where to register")]
    tree: Annotated[str, Meta(description="the expected folders and files")]
    splits: tuple[str, ...]
    published: Counts | None = None
    version: str | None = None


class SourceRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a dataset's ``dataset.json`` keeps of each source."""

    title: str
    licence: str | None = None
    version: str | None = None
    citation: str | None = None
    homepage: str | None = None
    published: Counts | None = None
    found: Counts | None = None


class RelevanceRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How relevance follows from annotations where a query has no judgements (``curate.relevance``)."""

    target: Literal["instance", "category"] = "instance"
    min_area: Annotated[float, Meta(description="box area in px²; smaller boxes make an image ignored")] = 0.0
    ignored_labels: tuple[str, ...] = ()
    empty_query: Annotated[Literal["skip", "zero"], Meta(description="score of a query without positive")] = "skip"


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a command, with the counts after it."""

    what: str
    counts: dict[str, int] = {}


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The command that made a dataset: its verb and the options that change the result."""

    verb: str
    options: dict[str, Any] = {}
    steps: tuple[Step, ...] = ()


class Parent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dataset that this one was made from."""

    name: str
    fingerprint: str
    command: Command | None = None
    parents: tuple[Parent, ...] = ()


class Info(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ``dataset.json`` says beside the fingerprints."""

    name: str
    version: str = "0"
    sources: dict[str, SourceRecord] = {}
    roots: Annotated[dict[str, str], Meta(description="source -> folder, as typed")] = {}
    parents: tuple[Parent, ...] = ()
    command: Command | None = None
    relevance: RelevanceRule = RelevanceRule()
    headers: Annotated[
        dict[str, Any], Meta(description="what foreign files say beside their rows, per file, returned at export")
    ] = {}


class Item(NamedTuple):
    """A unit of import work: one image with what its parser needs. Small, and safe to send to another process.

    ``root`` is the folder that the user named; ``image`` and ``label`` are relative to it, with forward slashes.
    """

    id: str
    root: Path
    split: str | None
    image: str | None
    label: str | None = None
    data: Any = None


class Parsed(NamedTuple):
    """What a source's ``parse`` gives back for one item; ``others`` are queries, members, findings and the like."""

    image: Image
    annotations: list[Annotation]
    others: list[Record] = []  # noqa: RUF012 - a NamedTuple default, never mutated

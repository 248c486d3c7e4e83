"""The numbers of ``curate info`` on a dataset small enough to be counted by hand."""

from __future__ import annotations

import msgspec

from curate.build.subset import build_subset
from curate.dataset import from_records
from curate.merging import merge
from curate.model import (
    Annotation,
    Category,
    Command,
    Coverage,
    Image,
    Info,
    Query,
    RelevanceRule,
    Rle,
    SourceRecord,
    finding,
)
from curate.summary import (
    SIZE_EDGES,
    CategoryCount,
    CoverageCount,
    Shapes,
    SourceCount,
    SplitCount,
    Summary,
    summarise,
)

MASK = Rle(size=(100, 100), counts="0")


def image(key: str, source: str = "s", size: int | None = 100, **more: str) -> Image:
    return Image(id=f"{source}/{key}", source=source, width=size, height=size, **more)


def box(image_id: str, number: int, category: str | None, w: float | None = 10, **more: object) -> Annotation:
    frame = {} if w is None else {"x": 0, "y": 0, "w": w, "h": 10}
    return Annotation(id=f"{image_id}#{number}", image_id=image_id, category=category, **frame, **more)  # type: ignore[arg-type]


DATA = from_records(
    Info(
        name="d",
        version="3",
        sources={"s": SourceRecord(title="S", licence="CC0"), "u": SourceRecord(title="U")},
        command=Command(verb="import", options={"source": "s"}),
        relevance=RelevanceRule(target="category"),
    ),
    [
        image("a", source_split="train"),
        image("b", source_split="train"),
        image("c", source_split="val", split="query"),
        image("d", source="t", size=None),
        Category(name="car"),
        Category(name="tram"),
        box("s/a", 1, "car", w=150),  # 15 %: from 15 to 50 %
        box("s/a", 2, "car", w=149.99),  # just below
        box("s/a", 3, "bus", w=0),
        box("s/a", 4, "car", w=2000, iscrowd=True),  # twice the image
        box("s/b", 1, "car", w=1000, segmentation=MASK),  # all of it
        box("s/b", 2, None, w=None),
        box("s/b", 3, None, w=None, polygons=[[[0.0, 0, 1, 0, 1, 1]]], ignore=True),
        box("t/d", 1, "car"),
        box("s/b", 4, "car", status="proposal"),
        box("gone", 1, "bus"),
        Coverage(scope="s/train", category="*", state="exhaustive"),
        Coverage(scope="s/a", category="*", state="partial"),
        Coverage(scope="s/b", category="car", state="partial"),
        Query(id="q1", kind="text", text="a car", category="car"),
        Query(id="q2", kind="text", text="a tram", category="tram"),
        Query(id="q3", kind="image", image_id="s/b", category="bus"),
        finding("B03", "x", "y"),
        finding("B03", "x", "z"),
        finding("N01", "x", "y"),
    ],
)


def test_counts() -> None:
    found = summarise(DATA)
    assert found.counts == {"images": 4, "annotations": 10, "categories": 2, "coverage": 3, "queries": 3}
    assert (found.name, found.version, found.fingerprint) == ("d", "3", DATA.fingerprint())
    assert found.statuses == {"proposal": 1, "truth": 9}
    assert found.sources == [
        SourceCount(name="s", licence="CC0", images=3, annotations=7),
        SourceCount(name="t", licence=None, images=1, annotations=1),
        SourceCount(name="u", licence=None, images=0, annotations=0),
    ]
    assert found.splits == [
        SplitCount(source="s", source_split="train", split=None, images=2, annotations=7, empty=0),
        SplitCount(source="s", source_split="val", split="query", images=1, annotations=0, empty=1),
        SplitCount(source="t", source_split=None, split=None, images=1, annotations=1, empty=0),
    ]
    assert found.categories == [
        CategoryCount(name="car", role="benchmark", annotations=5, images=3),
        CategoryCount(name="bus", role=None, annotations=2, images=1),
        CategoryCount(name="tram", role="benchmark", annotations=0, images=0),
    ]
    assert found.problems == {"B03": 2, "N01": 1}
    assert summarise(DATA, [finding("B03", "x", "w")]).problems == {"B03": 3, "N01": 1}


def test_sizes_and_shapes() -> None:
    found = summarise(DATA)
    assert [(size.low, size.high) for size in found.sizes] == list(
        zip(SIZE_EDGES, [*SIZE_EDGES[1:], None], strict=True)
    )
    by_low = {size.low: size.annotations for size in found.sizes if size.annotations}
    assert by_low == {0.0: 1, 0.05: 1, 0.15: 1, 1.0: 2}
    assert found.size_unknown == 4  # two without box, one in an image of unknown size, one in no image
    assert found.shapes == Shapes(box_and_mask=1, box_only=6, mask_only=1, whole_image=1, crowd=1, ignore=1)


def test_coverage_and_retrieval() -> None:
    found = summarise(DATA)
    assert found.coverage == [
        CoverageCount(state="exhaustive", splits=1, images=0),
        CoverageCount(state="partial", splits=0, images=2),
    ]
    # The gallery is a, c and d. q1: a and d are positive, of c nothing is known. q2: nothing is known of a, c, d.
    # q3: a shows a bus, of c and d nothing is known.
    assert found.retrieval
    assert msgspec.to_builtins(found.retrieval) == {
        "target": "category",
        "queries": 3,
        "kinds": {"image": 1, "text": 2},
        "query_images": 1,
        "gallery_images": 3,
        "without_positive": 1,
        "positives": {"min": 0, "median": 1, "max": 2, "total": 3},
        "negative": 0,
        "ignored": 0,
        "unjudged": 6,
    }


def test_lineage() -> None:
    subset = build_subset(DATA, sources=["s"])
    union = merge([subset, DATA], name="both")
    assert [(link.depth, link.name, link.verb) for link in summarise(union).lineage] == [
        (0, "both", "merge"),
        (1, "d", "build subset"),
        (2, "d", "import"),
        (1, "d", "import"),
    ]
    link = summarise(union).lineage[1]
    assert link.options == {"source": ["s"]}
    assert [step.what for step in link.steps] == ["input", "source s"]
    assert link.fingerprint == subset.fingerprint()


def test_empty() -> None:
    found = summarise(from_records(Info(name="empty"), []))
    assert found.counts == {"images": 0, "annotations": 0, "categories": 0}
    assert found.retrieval is None
    assert sum(size.annotations for size in found.sizes) == 0
    (link,) = found.lineage
    assert link.verb is None


def test_goes_through_json_and_has_a_schema() -> None:
    found = summarise(DATA)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Summary) == found
    assert msgspec.json.schema(Summary)["$ref"] == "#/$defs/Summary"

"""The page of a check: figures are those of the dataset, faults are shown, and a browser is content with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PilImage

from curate import store
from curate.dataset import Dataset, from_records
from curate.model import (
    Annotation,
    Category,
    Command,
    Image,
    Info,
    Member,
    Query,
    Record,
    RelevanceRule,
    SourceRecord,
    Step,
)
from curate.pages.verification import draw_page
from curate.verify import verify


def records(**boxes: tuple[float, float, float, float]) -> list[Record]:
    found: list[Record] = [
        Image(id=f"toy/{name}", source="toy", file_name=f"{name}.png", width=100, height=80, source_split="train")
        for name in ("q", "g", "empty")
    ]
    for i, (name, (x, y, w, h)) in enumerate(boxes.items()):
        image = "toy/q" if i == 0 else "toy/g"
        found.append(Annotation(id=f"toy/{name}", image_id=image, category="cup", x=x, y=y, w=w, h=h))
    found += [Category(name="cup"), Query(id="q", kind="image", image_id="toy/q", category="cup")]
    found += [Member(image_id="toy/q", role="query"), Member(image_id="toy/g", role="gallery")]
    return found


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., Dataset]:
    def make(**boxes: tuple[float, float, float, float]) -> Dataset:
        for name in ("q", "g", "empty"):
            PilImage.new("RGB", (100, 80), (90, 120, 90)).save(tmp_path / f"{name}.png")
        command = Command(
            verb="build subset", options={"size": "<0.5"}, steps=(Step(what="size", counts={"images": 3}),)
        )
        sources = {"toy": SourceRecord(title="Toy", licence="CC0-1.0")}
        info = Info(
            name="toy",
            sources=sources,
            roots={"toy": str(tmp_path)},
            command=command,
            relevance=RelevanceRule(target="category"),
        )
        return from_records(info, records(**boxes))

    return make


SOUND = {"a": (10.0, 10.0, 20.0, 20.0), "b": (30.0, 10.0, 40.0, 20.0), "c": (1.0, 1.0, 4.0, 5.0)}


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_a_sound_dataset(toy: Callable[..., Dataset]) -> None:
    dataset = toy(**SOUND)
    page = draw_page(verify(dataset), dataset)
    assert '<h1 class="good">No errors</h1>' in page
    text = text_of(page)
    assert "toy CC0-1.0 3 3" in text  # licence, images, annotations
    assert "toy, train – 3 3 1" in text  # one image is empty
    assert "cup benchmark 3 2" in text
    assert "curate build subset --size &lt;0.5" in text
    assert "size: 3 images" in text
    for title in ("cup: 3", "0 objects: 1", "1 objects: 1", "2 objects: 1", "1 positives: 1"):
        assert f"<title>{title}</title>" in page
    # 20 x 20 px of 100 x 80 px are 5 %, 40 x 20 are 10 %, 4 x 5 are 0.25 %
    assert "<title>0.1 % to 1 %: 1</title>" in page
    assert "<title>5 % to 15 %: 2</title>" in page
    # Centres at (0.2, 0.25), (0.5, 0.25) and (0.03, 0.04) in a grid of 16 x 16.
    cells = set(re.findall(r'<rect x="(\d+)" y="(\d+)" width="1.01"', page))
    assert cells == {("3", "4"), ("8", "4"), ("0", "0")}


def test_what_is_wrong_is_shown_with_pictures(toy: Callable[..., Dataset]) -> None:
    dataset = toy(**SOUND, d=(200.0, 10.0, 20.0, 20.0), e=(90.0, 10.0, 30.0, 20.0), f=(5.0, 5.0, 0.0, 9.0))
    report = verify(dataset)
    assert {one.code for one in report.findings} == {"B03", "B04", "B05"}
    page = draw_page(report, dataset)
    assert '<h1 class="bad">1 error</h1>' in page
    assert page.index("B05") < page.index("B03")  # errors first
    sections = re.findall(r'<section class="code (\w+)">(.*?)</section>', page, re.DOTALL)
    assert [kind for kind, _ in sections] == ["error", "warning", "warning"]
    for _, section in sections:
        assert section.count('class="overlay"') == 1  # the box, drawn
        assert "data:image/jpeg" in section


def test_a_file_that_is_no_dataset(tmp_path: Path) -> None:
    file = tmp_path / "<script>.json"
    file.write_text('{"images": [')
    page = draw_page(verify(file))
    assert '<h1 class="bad">1 error</h1>' in page
    assert "<script" not in page
    assert "&lt;script&gt;.json" in page
    assert "Lineage" not in page


def test_an_empty_dataset() -> None:
    dataset = from_records(Info(name="nothing"), [])
    assert "No errors" in draw_page(verify(dataset), dataset)


def test_a_browser_is_content(toy: Callable[..., Dataset], tmp_path: Path, curate: Any, browser: Any) -> None:
    names = {f"long_name_of_an_annotation_{i}": (200.0 + i, 10.0, 20.0, 20.0) for i in range(40)}
    store.write(toy(**SOUND, **names), tmp_path / "toy")
    curate("verify", "toy", "--html", "page.html", code=1)
    page = tmp_path / "page.html"
    assert browser.console(page) == []
    for width in (390, 1280):
        window, shown = browser.widths(page, width)
        assert shown <= window, f"wider than a window of {width} px"
    assert "http" not in re.sub(r"http-equiv", "", page.read_text())
    before = page.read_bytes()
    curate("verify", "toy", "--html", "page.html", code=2)
    curate("verify", "toy", "--html", "page.html", "--overwrite", code=1)
    assert page.read_bytes() == before

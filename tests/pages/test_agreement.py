"""The page of agreement: its figures are those of the report, everybody's shape is drawn, and a browser is content."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image as PilImage
from PIL import ImageDraw

from curate import store
from curate.dataset import Dataset, from_records
from curate.geometry import rle_area, rle_bounds, rle_from_mask
from curate.model import Annotation, Category, Image, Info, SourceRecord
from curate.pages.agreement import _COLOURS, draw_page
from curate.review import figures, folder, log, measures
from curate.review.log import Event
from curate.review.plan import preset

PEOPLE = ("p1", "p2", "p3")
SIZE = (160, 120)


def mask(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """An ellipse within these edges."""
    canvas = PilImage.new("1", SIZE)
    ImageDraw.Draw(canvas).ellipse((left, top, right, bottom), fill=1)
    return np.asarray(canvas)


def outlined(image: str, person: str, number: int, category: str, pixels: np.ndarray) -> Annotation:
    rle = rle_from_mask(pixels)
    x, y, w, h = rle_bounds(rle)
    return Annotation(
        id=f"{image}#{person}.{number}",
        image_id=image,
        category=category,
        x=x,
        y=y,
        w=w,
        h=h,
        area=rle_area(rle),
        segmentation=rle,
    )


def make(path: Path, images: int = 8) -> tuple[folder.Review, Dataset]:
    """Cups and balls that three people outline: the third draws all larger, misses one, and calls one otherwise."""
    (path / "pictures").mkdir()
    records: list[Any] = [Category(name="ball"), Category(name="cup")]
    rng = np.random.default_rng(0)
    answers: dict[tuple[str, str], list[Annotation]] = {}
    for i in range(images):
        image = f"toy/{i}"
        picture = PilImage.fromarray(rng.integers(70, 110, (SIZE[1], SIZE[0], 3), np.uint8))
        draw = ImageDraw.Draw(picture)
        for number, (category, colour) in enumerate((("cup", (200, 90, 60)), ("ball", (60, 90, 200)))):
            left, top = float(rng.integers(5, 60) + 60 * number), float(rng.integers(5, 60))
            edges = (left, top, left + 34, top + 40)
            draw.ellipse(edges, fill=colour)
            for person, grow in zip(PEOPLE, (0, 1, 4), strict=True):
                if person == "p3" and (i, number) == (0, 0):
                    continue
                said = "ball" if person == "p3" and (i, number) == (1, 0) else category
                drawn = mask(edges[0] - grow, edges[1] - grow, edges[2] + grow, edges[3] + grow)
                answers.setdefault((image, person), []).append(outlined(image, person, number, said, drawn))
        picture.save(path / "pictures" / f"{i}.png")
        records.append(Image(id=image, source="toy", file_name=f"{i}.png", width=SIZE[0], height=SIZE[1]))
    info = Info(name="toy", sources={"toy": SourceRecord(title="Toy")}, roots={"toy": str(path / "pictures")})
    dataset = from_records(info, records)
    store.write(dataset, path / "ds")
    review = folder.init(dataset, str(path / "ds"), preset("consensus", PEOPLE), path / "rounds")
    events = [
        Event(
            key=f"1.t/{n}@t",
            kind="answer",
            person=person,
            item=image,
            round=0,
            annotation=f"1.t/{n}",
            revision=f"t{n:03}",
            seconds=12.0,
            objects=tuple(answers.get((image, person), ())),
        )
        for n, (image, person) in enumerate((f"toy/{i}", person) for i in range(images) for person in PEOPLE)
    ]
    log.append(review.log, events)
    return folder.read(path / "rounds"), dataset


@pytest.fixture
def made(tmp_path: Path) -> tuple[folder.Review, Dataset]:
    return make(tmp_path)


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_figures_are_those_of_the_report(made: tuple[folder.Review, Dataset]) -> None:
    review, dataset = made
    found = measures.measure(review)
    page = draw_page(review, found, dataset)
    text = text_of(page)
    (one,) = found.rounds
    first = one.pairs[0]
    assert first.f1_sweep is not None
    assert one.alpha is not None
    assert first.boundary_f is not None
    assert f"Working blindly, p1, p2 and p3 agree with an F1@50:95 of {first.f1_sweep:.2f}" in text
    assert f"{one.alpha:.2f} alpha" in text
    assert f"{first.boundary_f:.2f} boundary F" in text
    for row in (*one.pairs, *one.annotators, *one.classes, *one.sizes):
        assert f"{row.of} {row.images:,} {row.objects:,} {row.f1_sweep:.3f}" in text
    assert "annotate p1 8 16 6.0 s 0.0 s" in text  # 12 s for two objects


def test_disagreements_are_shown_the_most_serious_first(made: tuple[folder.Review, Dataset]) -> None:
    review, dataset = made
    page = draw_page(review, measures.measure(review), dataset)
    text = text_of(page)
    places = [
        text.index(title) for title in ("Only some marked it", "Marked as different classes", "Drawn differently")
    ]
    assert places == sorted(places)
    assert "p1: cup p2: cup not by p3 toy/ 0" in text
    assert "p1: cup p2: cup p3: ball apart by" in text
    assert page.count("<figure>") == 1 + 1 + 12


def test_the_page_matches_nothing_again(made: tuple[folder.Review, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown is what the report names: of many outlines matching takes most of the time."""
    review, dataset = made
    found = measures.measure(review)
    monkeypatch.setattr(figures, "measure", None)
    (one,) = found.rounds
    few = msgspec.structs.replace(found, rounds=(msgspec.structs.replace(one, worst=one.worst[:1]),))
    assert draw_page(review, few, dataset).count("<figure>") == 1
    assert draw_page(review, found, dataset).count("<figure>") == len(one.worst)


def test_a_figure_of_one_image_has_no_bounds(tmp_path: Path) -> None:
    review, dataset = make(tmp_path, images=1)
    page = draw_page(review, measures.measure(review), dataset)
    assert "95 %: " not in page
    assert not re.search(r"<small>[\d.]+–[\d.]+</small>", page)


def test_everybody_has_a_colour_of_their_own_in_the_picture(made: tuple[folder.Review, Dataset]) -> None:
    review, dataset = made
    page = draw_page(review, measures.measure(review), dataset)
    shown = page[page.index("Drawn differently") :]
    overlay = re.search(r'class="overlay" src="data:image/png;base64,([^"]+)"', shown)
    assert overlay is not None
    pixels = np.asarray(PilImage.open(io.BytesIO(base64.b64decode(overlay[1]))).convert("RGBA")).reshape(-1, 4)
    opaque = pixels[pixels[:, 3] > 200][:, :3].astype(int)
    for colour in _COLOURS[:3]:  # the palette of the PNG may move a colour by a little
        assert (np.abs(opaque - colour).max(axis=1) <= 12).sum() > 50
    assert len(set(_COLOURS)) == len(_COLOURS)


def test_without_pictures_or_work_the_page_says_so(made: tuple[folder.Review, Dataset], tmp_path: Path) -> None:
    review, dataset = made
    page = draw_page(review, measures.measure(review), dataset, roots={"toy": str(tmp_path / "nowhere")})
    assert "no such file" in page
    empty = review._replace(events=[])
    page = draw_page(empty, measures.measure(empty), dataset)
    assert "there is no agreement to measure" in text_of(page)


def test_a_browser_is_content(
    made: tuple[folder.Review, Dataset], tmp_path: Path, curate: Callable[..., Any], browser: Any
) -> None:
    said = curate("review", "agreement", "rounds", "--html", "page.html").stdout
    assert "agreement of round annotate: alpha" in said
    page = tmp_path / "page.html"
    assert browser.console(page) == []
    for width in (390, 1280):
        window, shown = browser.widths(page, width)
        assert shown <= window, f"wider than a window of {width} px"
    assert "http" not in re.sub(r"http-equiv", "", page.read_text())
    before = page.read_bytes()
    assert "already exists" in curate("review", "agreement", "rounds", "--html", "page.html", code=2).stderr
    curate("review", "agreement", "rounds", "--html", "page.html", "--overwrite")
    assert page.read_bytes() == before

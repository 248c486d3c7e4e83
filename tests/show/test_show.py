"""Contact sheets from a dataset folder to a page or picture that can be looked at."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from PIL import ImageOps

from curate import from_records, read, write
from curate.geometry import rle_from_mask
from curate.model import Annotation, Category, Image, Info, Judgement, Member, Query
from curate.show import query_rows, show
from curate.show.tiles import Look, image_tiles, object_tiles

EXACT = Look(longest=60, enlarge_to=60, text=(6.0, 15.0))


def picture(path: Path, size: tuple[int, int] = (60, 40), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shades = np.random.default_rng(size[0]).integers(0, 255, (size[1], size[0], 3), np.uint8)
    PilImage.fromarray(shades).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of six images, some of which have no good picture."""
    raw = tmp_path / "raw"
    picture(raw / "good.png")
    picture(raw / "cut.jpg")
    (raw / "cut.jpg").write_bytes((raw / "cut.jpg").read_bytes()[:-900])
    (raw / "page.png").write_bytes(b"<html>please log in</html>")
    names = {"good": "good.png", "cut": "cut.jpg", "gone": "gone.png", "page": "page.png", "out": "../../etc/x.png"}
    mask = np.zeros((40, 60), bool)
    mask[10:20, 10:30] = True
    records = [Image(id=f"s/{key}", source="s", file_name=name, width=60, height=40) for key, name in names.items()]
    records += [
        Image(id="s/<script>alert(1)</script>", source="s", file_name="good.png", width=60, height=40),
        Category(name="cat & <b>dog</b>"),
        Annotation(
            id="s/good#0",
            image_id="s/good",
            category="cat & <b>dog</b>",
            x=10,
            y=10,
            w=20,
            h=10,
            segmentation=rle_from_mask(mask),
            score=0.25,
        ),
        Annotation(id="s/good#1", image_id="s/good", category="fog"),
        Annotation(id="s/gone#0", image_id="s/gone", category="cat & <b>dog</b>", x=1, y=1, w=5, h=5),
        Annotation(id="s/good#2", image_id="s/good", category="bee", status="proposal", x=1, y=1, w=5, h=5),
    ]
    write(from_records(Info(name="six", roots={"s": str(raw)}), records), tmp_path / "six")
    return tmp_path / "six"


class _Links(HTMLParser):
    """Collects every address that a page names, and the text alternatives of its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.alts: list[str | None] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag == "img":
            self.alts.append(dict(attrs).get("alt"))


def parsed(page: str) -> _Links:
    links = _Links()
    links.feed(page)
    return links


def test_the_page_is_self_contained_and_escaped(folder: Path, curate: Callable) -> None:
    curate("show", folder, "-o", "page.html")
    page = (folder.parent / "page.html").read_text("utf-8")
    links = parsed(page)
    assert links.links and all(link.startswith("data:") for link in links.links)
    assert not re.search(r"url\(|@import|https?://", re.sub(r"data:image/[^\"]*", "", page))
    assert "script" not in links.tags and "b" not in links.tags
    assert None not in links.alts
    assert any("s/good" in (alt or "") and "cat & <b>dog</b>" in (alt or "") for alt in links.alts)
    assert "cat &amp; &lt;b&gt;dog&lt;/b&gt; 0.25" in page and "whole image: fog" in page


def test_pictures_that_cannot_be_shown_say_why(folder: Path, curate: Callable) -> None:
    done = curate("show", folder, "-o", "sheet.png", "--json")
    found = json.loads(done.stdout)
    assert len(found["tiles"]) == 6 and found["annotations"] == 3
    problems = found["problems"]
    assert set(problems) == {"s/cut", "s/gone", "s/page", "s/out"}
    assert "cut short" in problems["s/cut"] and problems["s/gone"] == "no such file"
    assert "HTML" in problems["s/page"] and "leaves" in problems["s/out"]
    with PilImage.open(folder.parent / "sheet.png") as sheet:
        sheet.load()
        assert sheet.width > 1000


def test_no_folder_known(folder: Path, curate: Callable) -> None:
    text = (folder / "dataset.json").read_text().replace('"roots"', '"other"')
    (folder / "dataset.json").write_text(re.sub(r'"other": \{[^}]*\},?', "", text))
    done = curate("show", folder, "-o", "page.html", "--json", "--image", "s/good")
    assert "--root s=FOLDER" in json.loads(done.stdout)["problems"]["s/good"]
    done = curate("show", folder, "-o", "page.html", "--overwrite", "--root", "s=raw", "--image", "s/good", "--json")
    assert json.loads(done.stdout)["problems"] == {}


def test_the_same_dataset_gives_the_same_bytes(folder: Path, curate: Callable) -> None:
    for name, seed in (("a", "1"), ("b", "2")):
        curate("show", folder, "-o", f"{name}.html", "-q", env={**os.environ, "PYTHONHASHSEED": seed})
    assert (folder.parent / "a.html").read_bytes() == (folder.parent / "b.html").read_bytes()
    assert show(read(folder), kind="png").content == show(read(folder), kind="png").content


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["six", "-o", "page.pdf"], 2, "page.pdf: ends in '.pdf'; expected NAME.html or NAME.png"),
        (["six", "-o", "page"], 2, "page: has no ending; expected"),
        (["six", "-o", "there.html"], 2, "there.html: already exists"),
        (["six", "-o", "raw/x.png", "--class", "fogg"], 2, "class 'fogg': unknown in this dataset; did you mean 'fog'"),
        (["six", "-o", "x.png", "--image", "s/god"], 2, "image 's/god': unknown"),
        (["six", "-o", "x.png", "--crops", "--image", "s/god"], 2, "image 's/god': unknown"),
        (["six", "-o", "x.png", "--root", "z=raw"], 2, "--root z: no image is of this source; expected one of s"),
        (["six", "-o", "x.png", "--root", "s=gone"], 2, "--root s=gone: no such folder; expected the folder of"),
        (["none", "-o", "x.png"], 1, "none: no such folder"),
        (["raw", "-o", "x.png"], 1, "raw: has no dataset.json"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(
    folder: Path, curate: Callable, arguments: list[str], code: int, said: str
) -> None:
    (folder.parent / "there.html").write_text("mine")
    before = sorted(path for path in folder.parent.rglob("*"))
    done = curate("show", *arguments, code=code)
    assert done.stderr.startswith("curate: ") and said in done.stderr and done.stderr.count("\n") == 1
    assert sorted(path for path in folder.parent.rglob("*")) == before
    assert (folder.parent / "there.html").read_text() == "mine"


def test_status_and_class_choose_what_is_drawn(folder: Path) -> None:
    data = read(folder)
    assert show(data, kind="png", statuses=["proposal"], classes=["bee"]).tiles == ["s/good"]
    empty = show(data, kind="html", classes=["bee"])
    assert empty.tiles == [] and b"Nothing to show" in empty.content
    with PilImage.open(io.BytesIO(show(data, kind="png", classes=["bee"]).content)) as sheet:
        sheet.load()
    assert show(data, kind="html", statuses=["proposal", "truth"]).annotations == 4
    assert show(data, kind="png", crops=True).tiles == ["s/gone#0", "s/good#0"]
    assert len(show(data, kind="png", limit=2).tiles) == 2


def test_options_reach_the_sheet(folder: Path, curate: Callable) -> None:
    options = ["--status", "proposal", "--status", "truth", "--class", "bee", "--crops", "--limit", "7"]
    done = curate("show", folder, "-o", "x.html", "--json", *options)
    assert json.loads(done.stdout) == {"output": "x.html", "tiles": ["s/good#2"], "annotations": 1, "problems": {}}


def one_image(tmp_path: Path, record: Image, rows: list[Annotation]):
    return from_records(Info(name="one", roots={"s": str(tmp_path)}), [record, *rows])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_together_with_its_boxes(tmp_path: Path, orientation: int) -> None:
    stored = np.full((40, 60, 3), 90, np.uint8)
    stored[4:10, 12:33] = (250, 10, 10)
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    PilImage.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    mask = (stored[..., 0] == 250).astype(np.uint8)
    record = Image(id="s/a", source="s", file_name="a.png", width=60, height=40, orientation=orientation)
    data = one_image(tmp_path, record, [Annotation(id="s/a#0", image_id="s/a", segmentation=rle_from_mask(mask))])
    (tile,) = image_tiles(data, ["s/a"], data.table("annotations"), EXACT)
    with PilImage.open(tmp_path / "a.png") as file:
        seen = np.asarray(ImageOps.exif_transpose(file))
    assert tile.picture is not None and tile.overlay is not None
    np.testing.assert_array_equal(np.asarray(tile.picture), seen)
    np.testing.assert_array_equal(np.asarray(tile.overlay)[..., 3] > 0, seen[..., 0] == 250)
    assert ("turned" in tile.caption) == (orientation > 1)


def test_annotations_made_on_the_turned_picture_are_not_turned_again(tmp_path: Path) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "a.png", (60, 40), exif=exif)
    record = Image(id="s/a", source="s", file_name="a.png", width=40, height=60, orientation=6)
    data = one_image(tmp_path, record, [Annotation(id="s/a#0", image_id="s/a", x=5, y=40, w=30, h=15)])
    (tile,) = image_tiles(data, ["s/a"], data.table("annotations"), EXACT)
    assert tile.picture is not None and tile.overlay is not None
    assert tile.picture.size == (40, 60) and tile.note is None
    ys, xs = np.nonzero(np.asarray(tile.overlay)[..., 3] == 255)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (5, 40, 35, 55)


def test_a_file_of_another_size_is_noted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (30, 20))
    record = Image(id="s/a", source="s", file_name="a.png", width=60, height=40)
    (tile,) = image_tiles(one_image(tmp_path, record, []), ["s/a"], show_nothing(), EXACT)
    assert tile.note == "the file has 30 × 20 px" and tile.size == (60, 40)


def show_nothing():
    from curate.dataset import empty_table

    return empty_table("annotations")


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "LA", "CMYK", "I;16", "F", "YCbCr"])
def test_pictures_of_every_mode_are_shown(tmp_path: Path, mode: str) -> None:
    grey = PilImage.fromarray(np.arange(2400, dtype=np.uint8).reshape(40, 60))
    if mode == "I;16":
        made = PilImage.fromarray((np.arange(2400, dtype=np.uint16) * 20).reshape(40, 60))
    else:
        made = grey.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr") else grey.convert(mode)
    made.save(tmp_path / "a.tif")
    record = Image(id="s/a", source="s", file_name="a.tif", width=60, height=40)
    (tile,) = image_tiles(one_image(tmp_path, record, []), ["s/a"], show_nothing(), EXACT)
    assert tile.problem is None and tile.picture is not None
    assert tile.picture.mode == "RGB" and len(tile.picture.convert("L").getcolors()) > 1


def test_a_pipe_in_place_of_a_picture_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    record = Image(id="s/a", source="s", file_name="a.png", width=60, height=40)
    (tile,) = image_tiles(one_image(tmp_path, record, []), ["s/a"], show_nothing(), EXACT)
    assert tile.problem == "is not a regular file"


@pytest.mark.parametrize(
    ("box", "window"),
    [
        ((100, 100, 40, 20), (80, 70, 80, 80)),  # twice the longer side, the object in the middle
        ((2, 2, 40, 20), (0, 0, 80, 80)),  # moved inwards at the frame's edge
        ((290, 190, 10, 10), (268, 168, 32, 32)),  # never less than 32 px
        ((0, 0, 300, 200), (0, 0, 300, 200)),  # never more than the frame
        ((900, 900, 10, 10), (268, 168, 32, 32)),  # outside the frame: the nearest part of it
    ],
)
def test_crops_show_what_is_around_an_object(tmp_path: Path, box: tuple[int, ...], window: tuple[int, ...]) -> None:
    picture(tmp_path / "a.png", (300, 200))
    x, y, w, h = box
    record = Image(id="s/a", source="s", file_name="a.png", width=300, height=200)
    data = one_image(tmp_path, record, [Annotation(id="s/a#0", image_id="s/a", category="cat", x=x, y=y, w=w, h=h)])
    (tile,) = object_tiles(data, ["s/a#0"], Look(300, 1, (6.0, 15.0)))
    with PilImage.open(tmp_path / "a.png") as file:
        expected = file.crop((window[0], window[1], window[0] + window[2], window[1] + window[3]))
    assert tile.picture is not None
    np.testing.assert_array_equal(np.asarray(tile.picture), np.asarray(expected))
    assert tile.caption.startswith(f"cat · {w} × {h} px")


def test_queries_stand_with_their_positives(tmp_path: Path) -> None:
    for key in "qabc":
        picture(tmp_path / f"{key}.png")
    records = [Image(id=f"s/{key}", source="s", file_name=f"{key}.png", width=60, height=40) for key in "qabc"]
    records += [Member(image_id="s/q", role="query"), *(Member(image_id=f"s/{key}", role="gallery") for key in "abc")]
    records += [
        Annotation(id=f"s/{key}#0", image_id=f"s/{key}", instance=f"s/{n}", x=10, y=10, w=20, h=20)
        for key, n in (("q", 1), ("a", 1), ("b", 2), ("c", 1))
    ]
    records += [
        Query(id="q1", kind="box", image_id="s/q", x=10, y=10, w=20, h=20, annotation_id="s/q#0", instance="s/1"),
        Query(id="q2", kind="text", text="a <thing>"),
        Query(id="q3", kind="text", text="no answer"),
        Judgement(query_id="q2", image_id="s/b", label="hard"),
    ]
    data = from_records(Info(name="d", roots={"s": str(tmp_path)}), records)
    first, second = query_rows(data)
    assert (first.name, first.caption) == ("q1", "2 positives")
    assert first.asked is not None and first.asked.id == "s/q#0"
    assert [tile.id for tile in first.answers] == ["s/a#0", "s/c#0"]
    assert (second.name, second.text, second.asked) == ("q2", "a <thing>", None)
    assert [tile.id for tile in second.answers] == ["s/b"]
    page = show(data, kind="html").content.decode()
    assert page.count('<div class="query">') == 2 and "a &lt;thing&gt;" in page
    assert "Queries" not in show(data, kind="html", images=["s/a"]).content.decode()


def test_pictures_in_the_page_are_those_of_the_dataset(folder: Path) -> None:
    page = show(read(folder), kind="html", images=["s/good"]).content.decode()
    shown = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    assert len(shown) == 1
    with (
        PilImage.open(io.BytesIO(base64.b64decode(shown[0]))) as jpeg,
        PilImage.open(folder.parent / "raw/good.png") as png,
    ):
        assert jpeg.size == png.size
        assert np.abs(np.asarray(jpeg.convert("L"), int) - np.asarray(png.convert("L"), int)).mean() < 12


def test_in_a_browser(folder: Path, curate: Callable, browser) -> None:
    curate("show", folder, "-o", "page.html")
    page = folder.parent / "page.html"
    assert browser.console(page) == []
    for width in (390, 1280):
        window, content = browser.widths(page, width)
        assert window > width - 20 and content <= window
    # The same look at a page that does fetch something, and is too wide, says so.
    bad = folder.parent / "bad.html"
    extra = '<img src="http://example.com/x.png" alt=""><p style="width:3000px">wide</p></body>'
    bad.write_text(page.read_text("utf-8").replace("</body>", extra), "utf-8")
    assert browser.console(bad)
    assert browser.widths(bad, 390)[1] > 390

"""The tour as a stranger takes it: one command, then a look at what it made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from curate import read

DATASETS = ("kitti", "cityscapes", "voxdet", "merged", "small", "benchmark")
# A machine without torch and without network.
GUARD = """
import socket, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "segment_anything"):
            raise ImportError(f"{name} is not to be used")
sys.meta_path.insert(0, Refuse())
def refuse(*args, **kwargs):
    raise OSError("no network is to be used")
socket.socket.connect = socket.getaddrinfo = refuse
"""


def take(folder: Path, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    guard = folder / "guard"
    guard.mkdir(exist_ok=True)
    (guard / "sitecustomize.py").write_text(GUARD)
    done = subprocess.run(
        [sys.executable, "-m", "curate", "demo", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(guard)},
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a tour, and what was printed."""
    folder = tmp_path_factory.mktemp("tour")
    return folder / "demo", take(folder, "-o", "demo").stdout


@pytest.mark.parametrize(
    ("option", "package", "extra"),
    [("--prelabel", "cv2", "sam"), ("--prelabel", "torch", "sam"), ("--review", "scipy", "review")],
)
def test_what_is_not_installed_is_told_before_the_work(tmp_path: Path, option: str, package: str, extra: str) -> None:
    hide = (
        "import importlib.util as u; find = u.find_spec\n"
        f"u.find_spec = lambda name, *more: None if name == {package!r} else find(name, *more)\n"
        "from curate.commands import main; main()"
    )
    command = [sys.executable, "-c", hide, "demo", option, "-o", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    said = f"curate: demo {option}: {package} is not installed; install it: pip install 'curate[{extra}]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    assert list(tmp_path.iterdir()) == []


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_line_per_step(tour: tuple[Path, str]) -> None:
    folder, printed = tour
    *steps, last = printed.splitlines()
    named = [line.split(" s  ")[1].split("  ")[0] for line in steps]
    assert named == [
        *("draw kitti", "draw cityscapes", "draw voxdet", "import kitti", "import cityscapes", "import voxdet"),
        *("merge", "build subset", "build split", "export coco", "export anns_pt"),
        *("verify benchmark", "verify benchmark.json", "verify anns.pt"),
        *("rank by colour", "evaluate", "draw the page"),
    ]
    assert "24 images, " in steps[3] and "0 errors" in steps[11]
    assert last.endswith("verified without errors; look at demo/index.html")
    assert float(last.split(" s")[0]) < 60
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*DATASETS, "raw", "anns.pt", "baseline.json", "benchmark.json", "demo.json", "evaluation.html", "index.html"]
    )


def test_numbers_hang_together(tour: tuple[Path, str]) -> None:
    sets = {name: read(tour[0] / name) for name in DATASETS}
    rows = {name: data.table("annotations").num_rows for name, data in sets.items()}
    assert rows["merged"] == rows["kitti"] + rows["cityscapes"] + rows["voxdet"]
    assert 10 < rows["merged"] - rows["small"] < rows["merged"] / 2
    images = {row["id"]: row for row in sets["small"].table("images").to_pylist()}
    for row in sets["small"].table("annotations").to_pylist():
        image = images[row["image_id"]]
        assert row["w"] * row["h"] < 0.15 * image["width"] * image["height"]
    assert sets["benchmark"].table("queries").num_rows == 44
    assert [parent.name for parent in sets["benchmark"].info.parents] == ["small"]
    exported = json.loads((tour[0] / "benchmark.json").read_text())
    assert len(exported["annotations"]) == rows["benchmark"] and len(exported["images"]) == len(images)
    # Paths are those that a user would have typed, not those of the folder that the tour worked in.
    assert sets["merged"].info.roots == {name: f"demo/raw/{name}" for name in ("kitti", "cityscapes", "voxdet")}


def test_every_result_passes_verify(tour: tuple[Path, str], curate: Callable) -> None:
    folder = tour[0]
    for name in ("kitti", "cityscapes", "voxdet", "small"):
        assert "no errors" in curate("verify", f"demo/{name}", cwd=folder.parent).stdout


def test_the_commands_given_do_the_same_by_hand(tour: tuple[Path, str], tmp_path: Path) -> None:
    marker = json.loads((tour[0] / "demo.json").read_text())
    # The page gives them with a folder of their own below the tour's; 'raw' lies beside it.
    (tmp_path / "raw").symlink_to(tour[0] / "raw")
    (tmp_path / "baseline.json").symlink_to(tour[0] / "baseline.json")
    (tmp_path / "by-hand").mkdir()
    (tmp_path / "curate").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m curate "$@"\n')
    (tmp_path / "curate").chmod(0o755)
    script = "set -e\n" + "\n".join(marker["by_hand"])
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", script], cwd=tmp_path / "by-hand", env={**os.environ, "PATH": path}, check=True)
    made = {step["fingerprint"] for step in marker["steps"] if "fingerprint" in step}
    assert len(made) == 6
    for name in DATASETS:
        by_hand, toured = read(tmp_path / "by-hand" / name), read(tour[0] / name)
        assert by_hand.fingerprint() == toured.fingerprint() in made
    assert (tmp_path / "by-hand/anns.pt").read_bytes() == (tour[0] / "anns.pt").read_bytes()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: dict[str, int] = {}
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page(tour: tuple[Path, str]) -> None:
    page = _Page()
    page.feed((tour[0] / "index.html").read_text("utf-8"))
    assert page.links and all(link.startswith("data:") for link in page.links)
    assert "script" not in page.tags and page.tags["details"] == 12 and page.tags["figure"] == 6 * 7
    text = " ".join(page.text)
    marker = json.loads((tour[0] / "demo.json").read_text())
    for expected in ("no errors", "6 of 44 queries", "positives", *marker["by_hand"]):
        assert expected in text
    assert ".partial" not in text and "cannot" not in text and "no such file" not in text


@pytest.mark.parametrize("name", ["index.html", "evaluation.html"])
def test_the_pages_in_a_browser(tour: tuple[Path, str], browser, name: str) -> None:
    page = tour[0] / name
    assert browser.console(page) == []
    for width in (390, 1280):
        window, shown = browser.widths(page, width)
        assert window > width - 20 and shown <= window


def test_the_baseline_is_better_than_chance(tour: tuple[Path, str], curate: Callable) -> None:
    arguments = ("--truth", "benchmark", "--results", "baseline.json", "--json")
    done = json.loads(curate("evaluate", "soir", *arguments, cwd=tour[0]).stdout)
    values = done["scores"]["values"]
    low, high = done["interval"]
    assert values["mAP of random order"] < low < values["mAP"] < high < 1
    text = _Page()
    text.feed((tour[0] / "evaluation.html").read_text("utf-8"))
    assert f"{100 * values['mAP']:.2f} %" in " ".join(text.text)
    assert {link[:5] for link in text.links} == {"data:"}
    assert text.tags["figure"] > 8 * 4


def test_segmenters_side_by_side(tmp_path: Path, curate: Callable, browser) -> None:
    """Their true IoU on the drawn objects: both know better than the ellipse; the page shows the same figures."""
    done = json.loads(curate("demo", "-o", "demo", "--prelabel", "--json").stdout)
    steps = {step["what"]: step["counts"] for step in done["steps"]}
    ious = {name: steps[f"prelabel by {name}"]["% true IoU"] for name in ("ellipse", "grabcut", "sam")}
    assert ious["ellipse"] + 5 < min(ious["grabcut"], ious["sam"])
    page = tmp_path / "demo" / "prelabel.html"
    text = page.read_text("utf-8")
    assert "grabcut" in text and "sam tiny-test" in text and text.count('class="query"') == 12
    assert browser.console(page) == []
    for width in (390, 1280):
        window, shown = browser.widths(page, width)
        assert shown <= window
    # By hand the same dataset comes out.
    (by_hand,) = [line for line in done["by_hand"] if line.endswith("-o prelabelled")]
    folder = tmp_path / "demo" / "by-hand"
    folder.mkdir()
    for name in ("grabcuts",):
        (folder / name).symlink_to(tmp_path / "demo" / name)
    curate(*by_hand.split()[1:], "--root", f"voxdet={tmp_path / 'demo/raw/voxdet'}", cwd=folder)
    assert read(folder / "prelabelled").fingerprint() == read(tmp_path / "demo/prelabelled").fingerprint()


def test_an_earlier_tour_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/thesis.tex").write_text("mine")
    for more in ([], ["--overwrite"]):
        done = take(tmp_path, "-o", "demo", *more, code=2)
        assert done.stderr.startswith("curate: demo: ") and "exists" in done.stderr and done.stdout == ""
    (tmp_path / "demo/demo.json").write_text('{"demo": "of something else"}')
    take(tmp_path, "-o", "demo", "--overwrite", code=2)
    assert (tmp_path / "demo/thesis.tex").read_text() == "mine"


def interrupted(folder: Path, how: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Start a tour and send it a signal when it has begun to write."""
    command = [sys.executable, "-m", "curate", "demo", "-o", "demo"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        until = time.monotonic() + 60
        while not list(folder.glob(".demo.partial/raw/cityscapes/*/*")) and time.monotonic() < until:
            time.sleep(0.02)
        running.send_signal(how)
        output, errors = running.communicate()
    return subprocess.CompletedProcess(command, running.returncode, output, errors)


def test_interrupted_tours_leave_the_way_clear(tour: tuple[Path, str], tmp_path: Path) -> None:
    stopped = interrupted(tmp_path, signal.SIGINT)
    assert stopped.returncode == 130 and "interrupted" in stopped.stderr and "Traceback" not in stopped.stderr
    assert list(tmp_path.iterdir()) == []
    killed = interrupted(tmp_path, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL and not (tmp_path / "demo").exists()
    result = json.loads(take(tmp_path, "-o", "demo", "--json").stdout)
    assert result["errors"] == 0 and len(result["steps"]) == 17
    # The next tour ends well, and all its files have the same bytes as those of any other.
    assert content(tmp_path / "demo") == content(tour[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "guard"]

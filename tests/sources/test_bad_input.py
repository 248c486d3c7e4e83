"""Bad downloads at the command line: each gives one clear line with file and place, exit 1, and leaves nothing behind.

Every case is a fault put into a sound tree. With ``--skip-bad`` the same tree is imported without the broken image,
which ``problems.jsonl`` then names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

Tree = Callable[..., Path]
Curate = Callable[..., Any]
FRAME = "train/aachen/aachen_000000_000019"
POLYGONS = f"gtFine/{FRAME}_gtFine_polygons.json"


class Fault(NamedTuple):
    """What is done to a tree, the file and place that the error must name, what it must say, the image concerned."""

    source: str
    file: str
    damage: Callable[[Path], object]
    where: str
    said: str
    image: str


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace(old: bytes, new: bytes) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new, 1))

    return damage


def misname(path: Path) -> None:
    """Beside ``path``, a copy whose name is no UTF-8 text."""
    shutil.copy(path, path.with_name(os.fsdecode(b"\xe9" + os.fsencode(path.name))))


FAULTS = {
    "truncated picture": Fault(
        "kitti",
        "training/image_2/000001.png",
        halve,
        "",
        r"PNG file is cut short \(\d+ bytes\); expected its end marker; download or unpack it again",
        "kitti/training/000001",
    ),
    "empty picture": Fault(
        "kitti",
        "testing/image_2/000001.png",
        lambda path: path.write_bytes(b""),
        "",
        "file is empty; expected a picture; download or unpack it again",
        "kitti/testing/000001",
    ),
    "git-lfs pointer": Fault(
        "kitti",
        "training/image_2/000000.png",
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        "",
        "is a Git LFS pointer; expected a picture",
        "kitti/training/000000",
    ),
    "line of 14 columns": Fault(
        "kitti",
        "training/label_2/000001.txt",
        replace(b" 1.57\n", b"\n"),
        ":2",
        "14 columns; expected 15: type, truncated",
        "kitti/training/000001",
    ),
    "results instead of labels": Fault(
        "kitti",
        "training/label_2/000000.txt",
        replace(b" 0.01\n", b" 0.01 0.97\n"),
        ":1",
        "16 columns; expected 15: .*; a result file with scores has 16",
        "kitti/training/000000",
    ),
    "tracking labels": Fault(
        "kitti",
        "training/label_2/000000.txt",
        replace(b"Pedestrian", b"0 12 Pedestrian"),
        ":1",
        "17 columns; expected 15: .*; KITTI tracking has 17",
        "kitti/training/000000",
    ),
    "NaN in a line": Fault(
        "kitti",
        "training/label_2/000001.txt",
        replace(b"100.00", b"NaN"),
        ":2",
        "left is 'NaN'; expected a finite number",
        "kitti/training/000001",
    ),
    "binary label file": Fault(
        "kitti",
        "training/label_2/000001.txt",
        lambda path: path.write_bytes(b"Car \xff\xfe"),
        "",
        "byte 4 is not UTF-8 text",
        "kitti/training/000001",
    ),
    "name that is no UTF-8": Fault(
        "kitti",
        "training/image_2/000001.png",
        misname,
        r"\\udce9",
        "file name is not UTF-8; expected plain text; rename the file",
        r"kitti/training/\udce9000001",
    ),
    "picture of a frame cut in half": Fault(
        "cityscapes",
        f"leftImg8bit/{FRAME}_leftImg8bit.png",
        halve,
        "",
        "cut short",
        "cityscapes/aachen_000000_000019",
    ),
    "JSON cut in half": Fault(
        "cityscapes",
        POLYGONS,
        halve,
        "",
        r"JSON is cut short after \d+ bytes; expected its end; download or unpack it again",
        "cityscapes/aachen_000000_000019",
    ),
    "NaN in a polygon": Fault(
        "cityscapes",
        POLYGONS,
        replace(b"61.5", b"NaN"),
        r":\d+:\d+",
        r"JSON is malformed at 'NaN,' \(byte \d+\); expected JSON",
        "cityscapes/aachen_000000_000019",
    ),
    "vertex at 1e9": Fault(
        "cityscapes",
        POLYGONS,
        replace(b"61.5", b"1e9"),
        r", objects\[10\]",
        r"vertex 0 is at x = 1000000000\.0; expected at most 640 px from the origin",
        "cityscapes/aachen_000000_000019",
    ),
    "number beyond any float": Fault(
        "cityscapes",
        POLYGONS,
        replace(b"61.5", b"1e400"),
        r", objects\[10\]\.polygon\[0\]\[0\]",
        "number out of range",
        "cityscapes/aachen_000000_000019",
    ),
    "persons cut in half": Fault(
        "cityscapes",
        f"gtBboxCityPersons/{FRAME}_gtBboxCityPersons.json",
        halve,
        "",
        r"JSON is cut short after \d+ bytes",
        "cityscapes/aachen_000000_000019",
    ),
    "raster of 8 bits": Fault(
        "cityscapes",
        "gtFine/train/bochum/bochum_000000_000313_gtFine_instanceIds.png",
        lambda path: shutil.copy(str(path).replace("instanceIds", "color"), path),
        "",
        "is a picture of mode RGBA; expected one channel of 8 or 16 bits",
        "cityscapes/bochum_000000_000313",
    ),
    "frame name that is no UTF-8": Fault(
        "cityscapes",
        f"leftImg8bit/{FRAME}_leftImg8bit.png",
        misname,
        r"\\udce9",
        "file name is not UTF-8; expected plain text; rename the file",
        r"cityscapes/\udce9aachen_000000_000019",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_broken_item_is_one_line_and_can_be_left_out(
    fault: Fault, tree: Tree, curate: Curate, tmp_path: Path
) -> None:
    root = tree(fault.source)
    path = root / fault.file
    fault.damage(path)

    failed = curate("import", fault.source, root, "-o", "out", code=1)
    count, line = failed.stderr.splitlines()
    assert re.fullmatch(
        rf"curate: {re.escape(str(root))}: 1 of \d+ images are broken; nothing was written; .* with --skip-bad", count
    )
    if fault.where.startswith(r"\\"):  # the name itself is the fault
        where = rf"{re.escape(str(path.parent))}/{fault.where}{re.escape(path.name)}"
    else:
        where = re.escape(str(path)) + fault.where
    assert re.match(rf"curate: {where}: .*({fault.said})", line), line
    assert failed.stdout == ""
    assert _left_behind(tmp_path) == []

    done = curate("import", fault.source, root, "-o", "out", "--skip-bad", "--json")
    assert json.loads(done.stdout)["findings"]["N03"] == 1
    assert done.stderr == ""
    problems = [json.loads(line) for line in (tmp_path / "out/problems.jsonl").read_text().splitlines()]
    (left_out,) = [problem for problem in problems if problem["code"] == "N03"]
    assert left_out["item"] == fault.image
    assert re.match(rf"{where}$", left_out["where"])

    from curate.store import read

    assert fault.image not in read(tmp_path / "out").table("images")["id"].to_pylist()


def _left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("raw_"))


def test_all_broken_items_are_listed_at_once(tree: Tree, curate: Curate) -> None:
    root = tree("kitti")
    halve(root / "training/image_2/000000.png")
    replace(b" 1.57\n", b"\n")(root / "training/label_2/000001.txt")
    lines = curate("import", "kitti", root, "-o", "out", code=1).stderr.splitlines()
    assert len(lines) == 3
    assert "2 of 8 images are broken" in lines[0]


def test_the_next_run_succeeds_after_the_fault_is_mended(tree: Tree, curate: Curate, tmp_path: Path) -> None:
    root = tree("cityscapes")
    sound = (root / POLYGONS).read_bytes()
    halve(root / POLYGONS)
    curate("import", "cityscapes", root, "-o", "out", code=1)
    (root / POLYGONS).write_bytes(sound)
    assert curate("import", "cityscapes", root, "-o", "out").stdout.startswith("out: 9 images")
    assert _left_behind(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("source", "make", "said"),
    [
        ("kitti", lambda root: None, "no such folder; expected the unpacked download of KITTI"),
        ("kitti", lambda root: root.mkdir(), "is empty; expected the tree of KITTI"),
        ("kitti", lambda root: root.write_bytes(b"PK"), "is a file; .*; unpack the archives into one folder"),
        ("cityscapes", lambda root: None, "no such folder; expected the unpacked download of Cityscapes"),
        (
            "cityscapes",
            lambda root: (root.mkdir(), (root / "leftImg8bit_trainvaltest.zip").write_bytes(b"PK")),
            r"holds leftImg8bit_trainvaltest\.zip; expected the tree of Cityscapes, .*; unpack the archives there",
        ),
    ],
)
def test_a_root_that_is_missing_empty_or_not_unpacked(
    source: str, make: Callable[[Path], object], said: str, curate: Curate, tmp_path: Path
) -> None:
    root = tmp_path / "raw_root"
    make(root)
    for flags in ([], ["--skip-bad"]):
        failed = curate("import", source, root, "-o", "out", *flags, code=1)
        assert re.fullmatch(rf"curate: {re.escape(str(root))}: {said}.*\n", failed.stderr)
        assert _left_behind(tmp_path) == []


@pytest.mark.parametrize(("source", "other"), [("kitti", "cityscapes"), ("cityscapes", "kitti")])
def test_another_dataset_is_named(source: str, other: str, tree: Tree, curate: Curate, tmp_path: Path) -> None:
    root = tree(other)
    failed = curate("import", source, root, "-o", "out", code=1)
    (line,) = failed.stderr.splitlines()
    first = {"kitti": "testing, training", "cityscapes": "gtBboxCityPersons, gtCoarse, gtFine, leftImg8bit"}[other]
    assert line.startswith(f"curate: {root}: holds {first}; expected the tree of ")
    assert line.endswith(f"see 'curate sources {source}'")
    assert _left_behind(tmp_path) == []


def test_a_split_that_the_source_has_not_is_wrong_usage(tree: Tree, curate: Curate) -> None:
    failed = curate("import", "kitti", tree("kitti"), "-o", "out", "--split", "val", code=2)
    assert "kitti, split 'val': unknown split; expected one of training, testing" in failed.stderr


def test_a_root_whose_own_name_is_no_utf8_is_refused_in_one_line(tree: Tree, curate: Curate, tmp_path: Path) -> None:
    root = tree("kitti").rename(tmp_path / os.fsdecode(b"raw_\xe9"))
    failed = curate("import", "kitti", root, "-o", "out", code=1)
    (line,) = failed.stderr.splitlines()
    assert r"raw_\udce9: path is not UTF-8; expected plain text; rename it, or name a link to it" in line
    assert _left_behind(tmp_path) == []

"""Recipes in this process, and small raw downloads without a fault for those of the package."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from curate.commands import cli
from curate.demo import layouts

SOURCES = Path(__file__).resolve().parent.parent / "sources"
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run() -> Run:
    """``curate run`` with ``--json``; raw downloads are given by name: ``run("demo", "-o", out, kitti=folder)``."""

    def call(recipe: object, *arguments: object, **roots: Path) -> dict[str, Any]:
        given = [f"--root={name}={folder}" for name, folder in roots.items()]
        printed = io.StringIO()
        with redirect_stdout(printed):
            code = cli.main(["run", str(recipe), *map(str, arguments), *given, "--json"], standalone_mode=False)
        assert not code
        result: dict[str, Any] = json.loads(printed.getvalue())
        return result

    return call


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All files below ``folder``, and where links lead."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def tree(name: str) -> ModuleType:
    """A fresh copy of the script that writes the tree of a source, to be changed before it writes."""
    spec = importlib.util.spec_from_file_location(f"small_{name}", SOURCES / name / "tree.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(path: Path, size: tuple[int, int], colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour % 256, 90, 160)).save(path)


def searchad(root: Path) -> dict[str, Path]:
    """All images are here, and none of a folder that is not SearchAD's."""
    script = tree("searchad")
    del script.TRAIN["toronto/images/000001.png"]
    script.write(root)
    listed = [*script.TRAIN, *script.VAL, *script.TEST.values()]
    for i, path in enumerate(path for path in listed if not (root / path).exists()):
        picture(root / path, (1920, 1080) if path.startswith("acdc") else (640, 320), 10 * i)
    return {"searchad": root}


def voxdet(root: Path) -> dict[str, Path]:
    layouts.write(root, layouts.voxdet(views=1, scenes=6, frames=2))
    return {"voxdet": root}


def instre(root: Path) -> dict[str, Path]:
    """Some objects are small in one image and large in another."""
    script = tree("instre")
    script.IMAGES["INSTRE-S1/01b_mr.bean/002.jpg"] = "4 4 3 3\n"  # 3 %
    script.IMAGES["INSTRE-S1/01b_mr.bean/003.jpg"] = "1 1 18 12\n"
    script.write(root)
    return {"instre": root}


def permir(root: Path) -> dict[str, Path]:
    """Of one split: the other has a video of the same name, and one that PerMIR leaves without a query."""
    tree("permir").write(root)
    shutil.rmtree(root / "annotations/val")
    shutil.rmtree(root / "frames/val")
    return {"permir": root}


def ilias(root: Path) -> dict[str, Path]:
    script = tree("ilias")
    script.POSITIVES = script.POSITIVES.replace("posy_wib_002/pos/P002_01.jpg,0.2,18\n", "")  # not there
    script.CORE["posy_wib_002"]["pos"]["P002_00"] = "5 5 3 3\n"
    script.write(root)
    return {"ilias": root}


def pixels(root: Path) -> dict[str, Path]:
    script = tree("pixel_retrieval")
    script.PAIRS["oxford"]["2_3"] = "labels/ox/e.json"
    script.SHAPES["labels/ox/e.json"] = [[[4, 4], [12, 4], [12, 9]]]
    script.write(root)
    script.Image.new("RGB", script.SIZE).save(root / "revisitop/data/rparis6k/jpg/all_souls_000000.jpg")
    return {"pixel_retrieval": root, "revisitop": root / "revisitop/data"}


def demo(root: Path) -> dict[str, Path]:
    drawn = {"kitti": layouts.kitti(4, 1), "cityscapes": layouts.cityscapes(2, 1, 1), "voxdet": layouts.voxdet(1, 5, 1)}
    for name, files in drawn.items():
        layouts.write(root / name, files)
    return {name: root / name for name in drawn}


DOWNLOADS: dict[str, Callable[[Path], dict[str, Path]]] = {
    "demo": demo,
    "ilias": ilias,
    "instre-xs": instre,
    "instre-xxs": instre,
    "permir": permir,
    "proxford": pixels,
    "prparis": pixels,
    "searchad": searchad,
    "voxdet-soir": voxdet,
}

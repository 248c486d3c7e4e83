"""What a user installs: the wheel holds all of the package and nothing else, and works away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from sysconfig import get_path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel made from it, of a copy of the tree (so no build/ is left behind)."""
    folder = tmp_path_factory.mktemp("built")
    for name in ("curate", "schemas", "tests"):
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / "tree" / name, symlinks=True, ignore=without)
    for name in ("pyproject.toml", "README.md", "LICENSE", "cli.py"):
        shutil.copy2(REPOSITORY / name, folder / "tree" / name)
    # Not isolated: what setuptools needs is in the extra 'dev', and nothing is fetched.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder / "tree")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def in_tree() -> dict[str, bytes]:
    """The files that the package consists of, by their names in the wheel."""
    files = {}
    for top, inside in ((REPOSITORY / "curate", "curate"), (REPOSITORY / "schemas", "curate/schemas")):
        for path in top.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                files[f"{inside}/{path.relative_to(top).as_posix()}"] = path.read_bytes()
    return files


def test_the_wheel_holds_what_the_tree_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    expected = in_tree()
    assert sorted(packed) == sorted(expected)
    assert [name for name in packed if packed[name] != expected[name]] == []
    assert "curate/schemas/dataset.json" in packed


def test_the_launcher_and_the_tests_stay_out(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert tops == {"curate", f"curate-{PROJECT['version']}.dist-info"}


def test_the_metadata(wheel: Path, metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("curate", PROJECT["version"])
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "make demo" in str(metadata.get_payload())  # the README
    with zipfile.ZipFile(wheel) as archive:
        (licence,) = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        assert archive.read(licence) == (REPOSITORY / "LICENSE").read_bytes()


def test_the_base_has_no_torch_and_the_extras_what_resolves_together() -> None:
    extras = PROJECT["optional-dependencies"]
    assert set(extras) == {"sam", "detect", "review", "ray", "instre", "near", "dev", "all"}
    assert extras["all"] == ["curate[sam,detect,review,ray,instre,near]"]
    assert not any(line.startswith(("torch", "opencv")) for line in PROJECT["dependencies"])
    every = " ".join([*PROJECT["dependencies"], *(line for lines in extras.values() for line in lines)])
    for unwanted in ("torchvision", "timm", "open_clip", "open-clip"):  # they pin a torch of their own
        assert unwanted not in every
    # label-studio-sdk holds it at 4.12; a higher bound would leave no common version.
    assert "opencv-python-headless>=4.10" in extras["sam"]
    assert "numpy>=2" in PROJECT["dependencies"]


def test_the_schemas_are_reached_through_a_link() -> None:
    link = REPOSITORY / "curate" / "schemas"
    assert link.is_symlink()
    assert link.readlink() == Path("../schemas")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it.

    Its dependencies are those of this environment, lent by a .pth file, so that nothing is fetched. Files named in such
    a file do not count for it, so the editable curate of this environment cannot be reached.
    """
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    done = subprocess.run([*command, "--no-index"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(get_path("purelib") + "\n")
    return folder / "venv" / "bin"


def run(program: Path, *arguments: str, cwd: Path) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run([program, *arguments], cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_package_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    found = run(installed / "python", "-c", "import curate; print(curate.__file__, curate.__version__)", cwd=tmp_path)
    file, version = found.split()
    assert Path(file).is_relative_to(installed.parent)
    assert version == PROJECT["version"]


def test_the_installed_command_works_from_another_folder(installed: Path, tmp_path: Path) -> None:
    assert run(installed / "curate", "--help", cwd=tmp_path).startswith("Usage: curate [OPTIONS] COMMAND")
    sources = run(installed / "curate", "sources", cwd=tmp_path)
    assert {line.split()[0] for line in sources.splitlines()} >= {"anns_pt", "cityscapes", "coco", "kitti", "voxdet"}
    assert "Expected tree" in run(installed / "curate", "sources", "kitti", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_installed_package_has_its_data(installed: Path, tmp_path: Path) -> None:
    script = """
from importlib import resources
from curate import sources
print(len(list(resources.files("curate").joinpath("schemas").iterdir())), len(sources.label_table("kitti")))
"""
    schemas, labels = map(int, run(installed / "python", "-c", script, cwd=tmp_path).split())
    assert schemas == len(list((REPOSITORY / "schemas").iterdir()))
    assert labels > 5

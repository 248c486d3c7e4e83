"""Who may import whom, and what must not exist: the shape of the house, kept by walking its imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
MODULES = sorted((REPOSITORY / "curate").rglob("*.py"))
ROOMS = {"prelabel", "review", "build", "export", "verify", "evaluate", "retrieve", "show"}
# A module may import from the floors below its own.
FLOORS: list[set[str]] = [
    {"errors", "codes", "headers"},
    {"regular"},
    {"model", "atomic", "engine", "pictures", "plain_pickle", "matlab", "columns", "fingerprints"},
    {"geometry", "dataset", "torch_zip"},
    {"runlengths", "runorder", "coverage", "tracing", "turning", "doubt"},
    {"relevance", "brush"},
    {"label_studio"},
    {"merging"},
    {"coco", "anns_pt", "store", "taxonomy", "summary"},
    ROOMS | {"sources"},
    {"importing", "pages"},  # pages show what a room made with what another draws
    {"demo", "releasing", "recipe"},  # the tour, a release and a recipe go through all rooms
    {"results"},  # what commands print with --json
    {"schema"},  # of what they all write
    {"commands"},
    {"__main__"},
]
# Narrower than their floor: sources see no tables, and rooms take and give a Dataset without knowing where it lies.
SOURCES_MAY = {"errors", "codes", "model", "geometry", "pictures", "plain_pickle", "matlab", "regular"}
ROOMS_MAY_NOT = {"store", "sources"}
# Dataset.merge is merging.merge, imported when called.
UPWARDS = {("dataset", "merging")}
# What may be imported at the top of a module; everything else from outside is imported where it is needed.
TOP_LEVEL = {"msgspec", "numpy", "pyarrow", "PIL", "pycocotools", "shapely", "defusedxml"}
DISTRIBUTIONS = {
    "PIL": "pillow",
    "markupsafe": "jinja2",
    "cv2": "opencv-python-headless",
    "faiss": "faiss-cpu",
    "yaml": "pyyaml",
}


class Import(NamedTuple):
    line: int
    name: str  # dotted
    at_top: bool
    for_types: bool


def imports(tree: ast.Module) -> Iterator[Import]:
    """Every import, also those in functions and under ``if TYPE_CHECKING``; 'from a import b' counts as a.b."""

    def walk(node: ast.AST, at_top: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(child.lineno, alias.name, at_top, for_types) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level, f"relative import in line {child.lineno}"
                names = [f"{child.module}.{alias.name}" for alias in child.names]
                yield from (Import(child.lineno, name, at_top, for_types) for name in names)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                yield from walk(child, at_top and not inside, for_types or types)

    return walk(tree, True, False)


def part_of(module: str) -> str:
    """``curate.export.coco`` -> ``export``; the package itself is its own part."""
    return module.split(".")[1] if "." in module else "curate"


def floor(part: str) -> int:
    (level,) = [i for i, floor in enumerate(FLOORS) if part in floor] or [-1]
    assert level >= 0, f"curate/{part} stands on no floor; put it on one in this test"
    return level


def breaches(module: str, tree: ast.Module) -> list[str]:
    """What ``module`` imports against the rules, one line each."""
    me = part_of(module)
    may_at_top = {"click"} if me == "commands" else TOP_LEVEL
    found = []
    for line, name, at_top, for_types in imports(tree):
        top, at_top = name.split(".")[0], at_top and not for_types
        other = part_of(name) if top == "curate" else None
        if other and not (allowed(me, other) or ((me, other) in UPWARDS and not at_top)):
            found.append(f"{module}:{line} {me} may not import {name}")
        elif other and me == "commands" and at_top and other not in ("commands", "errors"):
            found.append(f"{module}:{line} a command imports {name} where it is needed, not at the top")
        elif not other and at_top and top not in may_at_top | sys.stdlib_module_names:
            found.append(f"{module}:{line} {name} is imported where it is needed, not at the top")
    return found


def allowed(me: str, other: str) -> bool:
    if me in ("curate", other):
        return True
    if me == "sources":
        return other in SOURCES_MAY
    return floor(other) < floor(me) and not (me in ROOMS and other in ROOMS_MAY_NOT)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_it_may(path: Path) -> None:
    assert breaches(name_of(path), ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("curate.build.split", "from curate.export import coco"),  # rooms do not know one another
        ("curate.build.split", "from curate import verify"),
        ("curate.verify", "import curate.store"),  # nor where a dataset lies
        ("curate.sources.kitti", "from curate.dataset import Dataset"),
        ("curate.sources.kitti", "def f():\n    from curate import store"),  # hiding it does not help
        ("curate.geometry", "from curate.dataset import Dataset"),
        ("curate.model", "from curate.errors import SourceError\nfrom curate.geometry import Box"),
        ("curate.dataset", "from curate.merging import merge"),
        ("curate.store", "from curate.commands import main"),  # nobody imports the commands
        ("curate.dataset", "import pandas"),
        ("curate.show", "if True:\n    import jinja2"),
        ("curate.commands.info", "import numpy"),
        ("curate.commands.info", "from curate import store"),
        ("curate.engine", "from ray import remote"),
    ],
)
def test_a_breach_is_noticed(module: str, text: str) -> None:
    assert len(breaches(module, ast.parse(text))) >= 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("curate.dataset", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas"),
        ("curate.dataset", "def f():\n    import pandas\n    from curate.merging import merge"),
        ("curate.sources.kitti", "from curate import sources\nfrom curate.sources import _files"),
        ("curate.commands.info", "import click\ndef f():\n    from curate import store, verify"),
        ("curate.export.coco", "import numpy\nfrom curate import coco"),
    ],
)
def test_what_is_allowed_passes(module: str, text: str) -> None:
    assert breaches(module, ast.parse(text)) == []


def test_everything_imported_is_declared() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *(line for name in extras if name != "dev" for line in extras[name])]
    names = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower().replace("_", "-") for line in declared}
    for path in MODULES:
        for line, name, *_ in imports(ast.parse(path.read_text())):
            top = name.split(".")[0]
            if top != "curate" and top not in sys.stdlib_module_names:
                assert DISTRIBUTIONS.get(top, top).replace("_", "-") in names, f"{path}:{line} imports {name}"


def test_there_are_no_drawers_without_a_name() -> None:
    drawers = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}
    for folder in ("curate", "tests"):
        for path in (REPOSITORY / folder).rglob("*"):
            assert not drawers & set(re.split(r"[_.]", path.name.lower())), path
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ClassDef) and node.name.endswith(("Manager", "Helper", "Mixin"))), path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_first_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "no docstring"

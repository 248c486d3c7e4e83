"""What commands print with ``--json`` is what the schemas ``result-VERB.json`` say: nothing missing, nothing more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import msgspec
import pytest

from curate.commands import VERBS
from curate.demo import tour
from curate.results import RESULTS

SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"
ROOTS = "--root kitti=raw/kitti --root cityscapes=raw/cityscapes --root voxdet=raw/voxdet"
CASES = [
    ("import", "import voxdet raw/voxdet -o out"),
    ("merge", "merge kitti cityscapes -o out"),
    ("relabel", "relabel merged --taxonomy coarse -o out"),
    ("relabel", "relabel merged --taxonomy coarse --dry-run"),
    ("build", "build subset merged --size <0.15 -o out"),
    ("build", "build subset merged --size <0.15 --dry-run"),
    ("build", "build split query-gallery small -o out"),
    ("build", "build split train-val-test kitti --group none -o out"),
    ("build", "build support kitti -n 2 -o out"),
    ("build", "build leakage benchmark --look place -o out"),
    ("build-hidden", "build hidden benchmark --split gallery -o out --key key"),
    ("build-hidden", "build hidden benchmark --split gallery --dry-run"),
    ("export", "export coco benchmark -o out"),
    ("export", "export anns_pt benchmark -o out"),
    ("export", "export lists benchmark -o out"),
    ("export", "export parquet benchmark -o out"),
    ("release", "release benchmark -o out"),
    ("show", "show kitti -o out.png --limit 2"),
    ("show", "show kitti -o out.png --limit 2 --crops"),
    ("prelabel", "prelabel voxdet --segmenter ellipse -o out"),
    ("prelabel-plan", "prelabel kitti --segmenter ellipse --dry-run"),
    ("run", f"run demo -o out {ROOTS}"),
    ("run", f"run demo -o out {ROOTS} --dry-run"),
    ("run", "run demo --dry-run"),
    ("run-list", "run --list"),
    ("demo", "demo -o out"),
    ("review-init", "review init kitti --plan quick --annotator p1 -o out"),
    ("review-serve-stop", "review serve --stop --data nowhere"),
]
# What these print has a schema of its own, and a test of its own.
ELSEWHERE = {"sources", "info", "verify", "evaluate", "review"}
# tests/review/test_command.py has a server for these, test_suspects.py the finds of a detector for the last.
AT_A_SERVER = {f"review-{verb}" for verb in ("serve", "join", "push", "pull", "take", "finish", "suspects")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "demo"
    tour.run(folder)
    return folder


@pytest.mark.parametrize(("name", "words"), CASES, ids=[words[:40] for _, words in CASES])
def test_what_is_printed_is_what_the_schema_says(folder: Path, tmp_path: Path, name: str, words: str) -> None:
    # Inputs are reached by the names that they have; the output is new for each case.
    for entry in folder.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    command = [sys.executable, "-m", "curate", *words.split(), "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    schema = json.loads((SCHEMAS / f"result-{name}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(printed)
    # And as the type reads it: back to the same JSON.
    assert json.loads(msgspec.json.encode(msgspec.convert(printed, RESULTS[name]))) == printed


def test_every_verb_has_one() -> None:
    assert {name.split("-")[0] for name in RESULTS} | ELSEWHERE == set(VERBS)
    assert {name for name, _ in CASES} | AT_A_SERVER == set(RESULTS)

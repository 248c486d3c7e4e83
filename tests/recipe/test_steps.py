"""Every kind of step: done, passed over, and done again in the place of what it wrote before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from curate.commands.run import RecipeCommands
from curate.demo import layouts
from curate.recipe import marks, reading
from curate.recipe.steps import KINDS
from tests.recipe.conftest import Run, bytes_of

RECIPE = """\
title: Every kind of step
roots: {voxdet: objects, kitti: streets}
steps:
  - {name: all, command: import voxdet, root: voxdet, options: {split: [train, test]}}
  - {name: other, command: import voxdet, root: voxdet, options: {split: test}}
  - {name: merged, command: merge, inputs: [all, other]}
  - {name: own, command: relabel, inputs: merged, options: {taxonomy: native, report: own-report.json}}
  - {name: masks, command: prelabel, inputs: own, options: {segmenter: ellipse, html: masks.html, queue: queue.csv}}
  - {name: small, command: build subset, inputs: own, options: {size: "<0.9"}}
  - {name: benchmark, command: build split query-gallery, inputs: small}
  - {name: cars, command: import kitti, root: kitti, options: {skip-bad: false}}
  - {name: support, command: build support, inputs: cars, options: {from: training, number: 1}}
  - {name: divided, command: build split train-val-test, inputs: cars, options: {share: [train=0.5, test=0.5]}}
  - {name: public, command: build hidden, inputs: divided, options: {split: test, key: key}}
  - {name: clean, command: build leakage, inputs: benchmark, options: {look: copy, fix: drop}}
  - {name: benchmark.json, command: export coco, inputs: benchmark}
  - {name: anns.pt, command: export anns_pt, inputs: benchmark}
  - {name: captions.pt, command: export captions_pt, inputs: masks}
  - {name: searchad, command: export searchad, inputs: public}
  - {name: revisitop, command: export revisitop, inputs: benchmark}
  - {name: lists, command: export lists, inputs: benchmark}
  - {name: parquet, command: export parquet, inputs: benchmark, options: {images: embed}}
  - {name: croissant, command: export croissant, inputs: benchmark}
  - {name: check.json, command: verify, inputs: benchmark, options: {html: check.html}}
  - {name: mended, command: verify, inputs: small, options: {repair: true, html: mended.html}}
  - {name: page.html, command: show, inputs: benchmark}
  - {name: release, command: release, inputs: benchmark, options: {format: [coco, lists]}}
  - {name: release-check.json, command: verify, inputs: release}
"""


def test_every_kind_of_step(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "of_code", lambda: "1.0 abc")
    layouts.write(tmp_path / "objects", layouts.voxdet(1, 4, 2))
    layouts.write(tmp_path / "streets", layouts.kitti(3, 1))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(RECIPE)
    plan = reading.read(str(recipe), RecipeCommands())
    assert {step.kind for step in plan.steps} == set(KINDS)

    def ran(folder: str = "made") -> list[str]:
        result = run(recipe, "-o", tmp_path / folder, voxdet=tmp_path / "objects", kitti=tmp_path / "streets")
        return [step["name"] for step in result["steps"] if step["outcome"] == "ran"]

    names = [step.name for step in plan.steps]
    assert ran() == names
    written = {*names, *(name for step in plan.steps for _, name in step.outputs), "run.json"}
    assert {path.name for path in (tmp_path / "made").iterdir()} == written
    assert ran() == []
    recipe.write_text(RECIPE.replace("[train, test]", "[val, train]").replace("test=0.5]}", "test=0.5], seed: two}"))
    assert ran() == [name for name in names if name not in ("other", "cars", "support")]
    assert {path.name for path in (tmp_path / "made").iterdir()} == written
    # What stands there now is what a fresh run makes.
    again = bytes_of(tmp_path / "made")
    shutil.rmtree(tmp_path / "made")
    assert ran() == names
    fresh = bytes_of(tmp_path / "made")
    assert [name for name in fresh if fresh[name] != again.get(name)] == []
    assert fresh.keys() == again.keys()

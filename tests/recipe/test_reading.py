"""Recipes as they are read: whatever is wrong in one is found before a step runs, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.commands.run import RecipeCommands
from curate.errors import UsageError
from curate.recipe import reading
from curate.recipe.reading import Plan
from curate.recipe.steps import arguments, typed

HEAD = "title: t\nroots:\n  raw: a download\nsteps:\n  - name: ds\n    command: import kitti\n    root: raw\n"


def read(text: str, folder: Path = Path("/nowhere")) -> Plan:
    return reading.checked(text, "r.yaml", folder, RecipeCommands())


def faults(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read(text)
    return caught.value.lines


@pytest.mark.parametrize("name", reading.names())
def test_the_package_s_own(name: str) -> None:
    plan = reading.read(name, RecipeCommands())
    assert plan.name == name
    assert plan.recipe.about and not plan.recipe.title.endswith(".")
    checks = [step for step in plan.steps if step.kind.words == ("verify",)]
    assert checks
    assert all(len(line) <= 120 for line in plan.text.splitlines())


def test_a_step_as_a_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").touch()
    plan = read(
        HEAD
        + """
  - {name: own, command: relabel, inputs: ds, options: {taxonomy: mine.tsv, report: own.json}}
  - name: small
    command: build subset
    inputs: [own]
    options:
      size: ["<0.15", ">=1%"]
      attribute: {weather: fog, place: ulm}
      drop-empty: true
      sample: 010
  - {name: check.json, command: verify, inputs: small, options: {level: quick, root: {kitti: raw}}}
  - {name: mended, command: verify, inputs: small/part, options: {repair: true}}
""",
        tmp_path,
    )
    roots = {"raw": "/data/kitti"}
    assert [arguments(step, roots) for step in plan.steps] == [
        ["import", "kitti", "/data/kitti", "--output=ds"],
        ["relabel", "ds", f"--taxonomy={tmp_path}/mine.tsv", "--report=own.json", "--output=own"],
        [
            *("build", "subset", "own", "--size=<0.15", "--size=>=1%", "--attribute=weather=fog"),
            *("--attribute=place=ulm", "--drop-empty", "--sample=010", "--output=small"),
        ],
        ["verify", "small", "--level=quick", "--root=kitti=/data/kitti", "--report=check.json"],
        ["verify", "small/part", "--repair", "--output=mended"],
    ]
    assert typed(plan.steps[0]) == ["import", "kitti", "raw", "--output=ds"]
    assert typed(plan.steps[1])[2] == "--taxonomy=mine.tsv"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (HEAD.replace("title", "tilte"), "r.yaml:1: 'tilte' is unknown here; expected some of title, about, roots"),
        (HEAD.replace("command", "comand"), "r.yaml:6: 'comand' is unknown here; expected some of name, command,"),
        (HEAD.replace("title: t\n", ""), "r.yaml:1: Object missing required field `title`; see schemas/recipe.json"),
        (
            HEAD.replace("    command: import kitti\n", ""),
            "r.yaml:5: steps[0]: Object missing required field `command`",
        ),
        (HEAD.replace("name: ds", "name: a/b"), "r.yaml:5: steps[0].name: Expected `str` matching regex"),
        (HEAD.replace("name: ds", 'name: "ds\\n"'), "r.yaml:5: steps[0].name: Expected `str` matching regex"),
        (HEAD.replace("name: ds", "name: [ds]"), "r.yaml:5: steps[0].name: Expected `str`, got `array`"),
        (HEAD.replace("raw: a download", "'': x"), "r.yaml:2: roots: Expected `str` matching regex"),
        ("- a\n", "r.yaml:1: Expected `object`, got `array`"),
        ("", "r.yaml:1: Expected `object`, got `null`"),
        (
            HEAD.replace("  raw: a download\n", "  raw: x\n  other: y\n"),
            "r.yaml:4: no step reads the root 'other'; remove",
        ),
        (
            HEAD.replace("import kitti", "imprt kitti"),
            "r.yaml:6, step ds: 'imprt kitti' is no step; expected one of import",
        ),
        (HEAD.replace("import kitti", "import"), "r.yaml:6, step ds: import of what?; expected a source after it"),
        (HEAD.replace("import kitti", "import kiti"), "r.yaml:6, step ds: 'kiti' is not a source"),
        (HEAD.replace("root: raw", "root: rwa"), "r.yaml:7, step ds: the root 'rwa' is unknown; expected one of raw"),
        (HEAD.replace("root: raw", "root: raw/../.."), "r.yaml:7, step ds: '../..' leaves the root"),
        (HEAD.replace("    root: raw\n", ""), "r.yaml:5, step ds: has no root; expected one of raw"),
        (
            HEAD.replace("    root: raw\n", "    root: raw\n    inputs: ds\n"),
            "step ds: the input 'ds' is not made before",
        ),
    ],
)
def test_one_fault(text: str, line: str) -> None:
    (found,) = faults(text)
    assert found.startswith(line) or line in found


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("name: ds, command: export coco, inputs: ds", "the name 'ds' stands twice; first in r.yaml:5"),
        ("name: run.json, command: export coco, inputs: ds", "run.json is what 'curate run' itself writes"),
        ("name: x, command: export coc, inputs: ds", "'coc' is not a format; expected one of anns_pt,"),
        (
            "name: x, command: export coco, inputs: dss",
            "the input 'dss' is unknown; expected one of ds; did you mean 'ds'?",
        ),
        ("name: x, command: export coco, inputs: ds/../y", "'../y' leaves what ds wrote"),
        ("name: x, command: export coco", "export with 0 inputs; expected 1"),
        ("name: x, command: merge, inputs: ds", "merge with 1 inputs; expected 2 or more"),
        ("name: x, command: verify, inputs: ds, root: raw", "verify has no root; name its inputs"),
        ("name: x, command: info, inputs: ds", "'info' is no step; expected one of import, merge,"),
        ("name: x, command: build subset kitti, inputs: ds", "'build subset kitti' is no step"),
        (
            "name: x, command: build subset, inputs: ds, options: {sise: 1}",
            "has no option 'sise'; expected one of area,",
        ),
        ("name: x, command: build subset, inputs: ds, options: {sise: 1}", "did you mean 'size'?"),
        (
            "name: x, command: build subset, inputs: ds, options: {output: y}",
            "'output' is given by 'curate run' itself",
        ),
        (
            "name: x, command: build subset, inputs: ds, options: {preset: instre-x}",
            "preset is 'instre-x'; expected one of",
        ),
        ("name: x, command: build subset, inputs: ds, options: {drop-empty: yes}", "expected true or false"),
        ("name: x, command: build subset, inputs: ds, options: {seed: [1, 2]}", "seed is given several times"),
        (
            "name: x, command: build subset, inputs: ds, options: {sample-per-class: many}",
            "'many' is not a valid integer",
        ),
        (
            "name: x, command: export coco, inputs: ds, options: {min-area: 1}",
            "'min-area' is no option of coco; remove it",
        ),
        ("name: x, command: relabel, inputs: ds", "--taxonomy is missing; expected it among the options"),
        ("name: x, command: relabel, inputs: ds, options: {taxonomy: serchad}", "did you mean 'searchad'?"),
        ("name: x, command: relabel, inputs: ds, options: {taxonomy: my.tsv}", "/nowhere/my.tsv is not there"),
        ("name: x, command: verify, inputs: ds, options: {html: ../x}", "html is '../x'; expected the name of a file"),
        (
            "name: x.json, command: verify, inputs: ds, options: {report: y.json}",
            "names a second report; expected one report, which is called as the step, x.json; remove it",
        ),
        (
            "name: x, command: prelabel, inputs: ds, options: {segmenter: ellipse, work: wk}",
            "'work' is given by 'curate run' itself; remove it",
        ),
        ("name: x, command: verify, inputs: ds, options: {html: ds}", "the name 'ds' stands twice"),
        ("name: x, command: verify, inputs: ds, options: {root: raw}", "root is 'raw'; expected a mapping"),
        ("name: x, command: verify, inputs: ds, options: {root: {kitti: rav}}", "the root 'rav' is unknown"),
        ("name: x, command: import kitti, root: raw, options: {split: trainin}", "kitti has no split 'trainin'"),
        ("name: x, command: import permir, root: raw, options: {option: {galery: all}}", "did you mean 'gallery'?"),
        (
            "name: x, command: import permir, root: raw, options: {option: [galery=all]}",
            "no option 'galery' of its own",
        ),
    ],
)
def test_one_fault_of_a_second_step(step: str, message: str) -> None:
    (found,) = faults(f"{HEAD}  - {{{step}}}\n")
    assert found.startswith("r.yaml:8, step ")
    assert message in found


def test_all_faults_are_told_and_none_twice() -> None:
    """A step that is wrong is no fault of those that read what it would write."""
    steps = "  - {name: a, command: build subset, inputs: ds, options: {sise: 1}}\n"
    steps += "  - {name: b, command: export coco, inputs: a}\n  - {name: c, command: verify, inputs: bb}\n"
    found = faults(HEAD + steps)
    assert [line.partition(":")[2].partition(";")[0] for line in found] == [
        "8, step a: build subset has no option 'sise'",
        "10, step c: the input 'bb' is unknown",
    ]


def test_where_recipes_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(HEAD)
    assert reading.read("mine.yaml", RecipeCommands()).name == "mine"
    for name, message in [
        ("instre-x", "recipe 'instre-x': unknown; expected a file, or one of demo, ilias, instre-xs"),
        ("other.yaml", "other.yaml: no such file; expected a recipe, or one of"),
    ]:
        with pytest.raises(UsageError, match="^" + message.replace(".", r"\.")):
            reading.read(name, RecipeCommands())
    (tmp_path / "latin.yaml").write_bytes("title: é".encode("latin-1"))
    (tmp_path / "folder.yaml").mkdir()
    for name in ("latin.yaml", "folder.yaml"):
        with pytest.raises(UsageError, match="is no text"):
            reading.read(name, RecipeCommands())

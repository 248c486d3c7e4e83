"""``curate evaluate``: what it prints and writes, what it refuses, and that nothing half-written is left."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from curate import store
from curate.dataset import from_records
from curate.evaluate.report import Evaluation
from curate.model import Image, Info

Curate = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def case(shared: Path) -> tuple[Path, Path]:
    """Truth and results of SearchAD's golden case."""
    folder = shared / "golden" / "searchad" / "case_basic"
    return folder / "input" / "searchad_annotations_val.json", folder / "predictions_val.json"


def test_the_table_names_preset_variant_and_fingerprint(case: tuple[Path, Path], curate: Curate) -> None:
    done = curate("evaluate", "searchad", "--truth", case[0], "--results", case[1], "--variant", "upstream")
    lines = done.stdout.splitlines()
    assert lines[0] == "searchad (upstream), truth searchad_annotations_val, 90 queries"
    assert lines[1].startswith("truth d239f5a4651e3852, results predictions_val.json")
    # The devkit's own csv has 54.10, 48.83, 34.22, 11.20, 6.32.
    figures = [line.split() for line in lines[3:8]]
    assert [row[:2] for row in figures] == [
        ["MAP", "54.10"],
        ["R-Precision", "48.83"],
        ["P@5", "34.22"],
        ["P@25", "11.20"],
        ["P@100", "6.32"],
    ]
    assert lines[-1].startswith("note: as SearchAD's devkit")
    assert curate("evaluate", "searchad", "--truth", case[0], "--results", case[1], "-q").stdout == ""


def test_json_csv_and_report_say_the_same(case: tuple[Path, Path], curate: Curate, tmp_path: Path) -> None:
    files = ("--csv", "q.csv", "--report", "r.json", "--details")
    done = curate("evaluate", "searchad", "--truth", case[0], "--results", case[1], "--json", *files)
    assert json.loads(done.stdout)["scores"]["variant"] == "strict"
    outcome = msgspec.json.decode(done.stdout, type=Evaluation)
    assert (tmp_path / "r.json").read_text() == done.stdout
    rows = list(csv.DictReader(io.StringIO((tmp_path / "q.csv").read_text())))
    assert len(rows) == 90
    assert {(row["preset"], row["variant"], row["truth"]) for row in rows} == {
        ("searchad", "strict", outcome.scores.fingerprint)
    }
    assert sum(float(row["AP"]) for row in rows) / 90 == pytest.approx(outcome.scores.values["MAP"])
    assert {one.by for one in outcome.breakdowns} == {"supercategory", "positives of the query"}
    again = curate("evaluate", "searchad", "--truth", case[0], "--results", case[1], "--json", "--details")
    assert again.stdout == done.stdout


def test_two_runs(case: tuple[Path, Path], curate: Curate, tmp_path: Path) -> None:
    lists = json.loads(case[1].read_text())
    (tmp_path / "turned.json").write_text(json.dumps({label: paths[::-1] for label, paths in lists.items()}))
    done = curate("evaluate", "searchad", "--truth", case[0], "--results", case[1], "--against", "turned.json")
    assert "against turned.json: AP +" in done.stdout
    assert "p = 0.0001" in done.stdout
    figures = next(line for line in done.stdout.splitlines() if line.strip().startswith("MAP "))
    assert figures.count("%") == 2


def test_the_page(case: tuple[Path, Path], curate: Curate, tmp_path: Path, browser) -> None:
    curate("import", "searchad", case[0].parent, "--split", "val", "-o", "val")
    run = ("evaluate", "searchad", "--truth", "val", "--results", case[1], "--html", "page.html")
    curate(*run)
    text = (tmp_path / "page.html").read_text()
    assert text.count('class="query"') == 8
    assert text.count('<figure class="hit">') + text.count('<figure class="miss">') == 8 * 6
    assert browser.console(tmp_path / "page.html") == []
    for width in (390, 1280):
        window, shown = browser.widths(tmp_path / "page.html", width)
        assert shown <= window
    refused = curate(*run, code=2)
    assert refused.stderr.startswith("curate: page.html: already exists; give --overwrite")
    curate(*run, "--overwrite")
    assert (tmp_path / "page.html").read_text() == text


def test_the_page_of_runs_without_pictures(shared: Path, curate: Curate, tmp_path: Path, browser) -> None:
    """ILIAS's own groups, two runs side by side, and the worst queries by name."""
    case = shared / "golden" / "ilias" / "case_1"
    lists = json.loads((case / "similarities.json").read_text())
    turned = {query: {item: -score for item, score in row.items()} for query, row in lists.items()}
    (tmp_path / "turned.json").write_text(json.dumps(turned))
    given = ("--taxonomy", case / "misc" / "taxonomy.json", "--against", "turned.json", "--html", "page.html")
    truth = ("--truth", case / "dataset", "--results", case / "similarities.json")
    outcome = json.loads(curate("evaluate", "ilias", *truth, *given, "-k", "100", "--json").stdout)
    text = (tmp_path / "page.html").read_text()
    for heading in ("By scale, as", "By clutter, as", "By kind", "By positives of the query", "Against other runs"):
        assert f"<h2>{heading}" in text
    assert ">0.0688-0.135<" in text.replace("<wbr>", "")
    assert "random order" not in text  # how many distractors are searched is not known
    values = [value for value in outcome["scores"]["queries"]["values"]["AP"] if value is not None]
    assert text.index("The worst queries") < text.index(f"<td>{100 * min(values):.2f} %</td>")
    assert browser.console(tmp_path / "page.html") == []
    for width in (390, 1280):
        window, shown = browser.widths(tmp_path / "page.html", width)
        assert shown <= window


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--truth", "none.json", "--results", "run.json"), 1, "none.json: no such file or folder"),
        (("--truth", "{truth}", "--results", "none.json"), 1, "none.json: no such file"),
        (("--truth", "{truth}", "--results", "run.json"), 1, "run.json: no query of the results"),
        (("--truth", "{truth}", "--results", "run.json", "--csv", "run.json"), 2, "run.json: is also the input"),
        (("--truth", "{truth}", "--results", "run.json", "-k", "0"), 2, "-k"),
        (("--results", "run.json"), 2, "--truth"),
        (
            ("--truth", "{truth}", "--results", "run.json", "--root", "x=."),
            2,
            "--root: is for the pictures of a dataset",
        ),
    ],
)
def test_what_is_refused(
    case: tuple[Path, Path], curate: Curate, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "run.json").write_text('{"nobody": ["a"]}')
    given = [argument.format(truth=case[0]) for argument in arguments]
    files = [] if "--csv" in given else ["--csv", "q.csv"]
    done = curate("evaluate", "searchad", *given, *files, "--html", "p.html", code=code)
    assert said in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json"]


def test_a_root_of_no_source(curate: Curate, tmp_path: Path) -> None:
    records = [Image(id="m/a", source="m", file_name="a.png", width=9, height=9)]
    store.write(from_records(Info(name="m"), records), tmp_path / "ds")
    done = curate("evaluate", "soir", "--truth", "ds", "--results", "run.json", "--root", "n=.", code=2)
    assert done.stderr == "curate: --root n: no image is of this source; expected one of m\n"
    done = curate("evaluate", "ilias", "--truth", "ds", "--results", "run.json", "--taxonomy", "t.json", code=2)
    assert "--truth is a dataset, which has its own; expected it beside ILIAS's image_ids" in done.stderr


def test_an_unknown_preset(curate: Curate) -> None:
    assert "pixel_retrieval" in curate("evaluate", "coco", "--truth", "a", "--results", "b", code=2).stderr


SENDER = ("--team", " Team X ", "--model", "ModelY", "--search-mode", "language")


def test_submit_writes_what_the_devkit_writes(shared: Path, curate: Curate, tmp_path: Path) -> None:
    case = shared / "golden" / "searchad" / "case_basic"
    run = ("evaluate", "submit", "--truth", case / "input", "--results", case / "predictions_test.json", *SENDER)
    done = curate(*run, "-o", "submission.json", "--json")
    assert (tmp_path / "submission.json").read_bytes() == (case / "expected" / "submission.json").read_bytes()
    summary = json.loads(done.stdout)
    assert (summary["queries"], summary["items"], summary["findings"]) == (90, 90 * 18, [])
    assert "already exists" in curate(*run, "-o", "submission.json", code=2).stderr
    assert curate(*run, "-o", "submission.json", "--overwrite").stdout == "submission.json: 90 queries, 1,620 items\n"


def test_submit_refuses_what_costs_score(shared: Path, curate: Curate, tmp_path: Path) -> None:
    case = shared / "golden" / "searchad" / "case_basic"
    lists = json.loads((case / "predictions_test.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({label: paths[:9] for label, paths in list(lists.items())[:80]}))
    run = ("evaluate", "submit", "--truth", case / "input", "--results", "run.json", *SENDER, "-o", "s.json")
    refused = curate(*run, code=1).stderr.splitlines()
    assert refused[0].startswith("curate: run.json: 10 queries have no results (")
    assert "--force" in refused[0]
    assert refused[1].startswith("curate: run.json: 80 lists have fewer than 18 items (from 9)")
    assert not (tmp_path / "s.json").exists()
    assert curate(*run, "--force").stdout.endswith("s.json: 80 queries, 720 items\n")
    assert "'--team'" in curate("evaluate", "submit", "--truth", "a", "--results", "b", "-o", "c", code=2).stderr

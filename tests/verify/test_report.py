"""The report as a value and as text: counts are of all findings, what is printed is capped and safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from curate.model import finding
from curate.verify import Report, report


def made(*findings: Any, **more: Any) -> Report:
    totals, kept, capped = report.collect(findings)
    verdict = "errors" if any(total.errors for total in totals) else "no errors"
    return Report(
        path="x.json", kind="coco", verdict=verdict, level="full", totals=totals, findings=kept, capped=capped, **more
    )


def test_errors_come_first_then_warnings_then_notes() -> None:
    found = [
        finding("R10", "w", "unused", severity="info"),
        finding("A08", "w", "numpy"),
        finding("R02", "w", "lost"),
        finding("B05", "w", "outside"),
    ]
    result = made(*found)
    assert [total.code for total in result.totals] == ["B05", "R02", "A08", "R10"]
    assert [one.code for one in result.findings] == ["B05", "R02", "A08", "R10"]
    assert result.errors == 2
    assert report.text(result).splitlines()[0].startswith("x.json: 2 errors, 1 warning, 1 note (")


def test_all_are_counted_some_kept_fewer_printed() -> None:
    result = made(*(finding("B05", f"x.json, annotations[{i}]", "outside") for i in range(5000)))
    assert result.totals[0].errors == 5000
    assert len(result.findings) == report.KEPT
    assert result.capped == ("B05",)
    lines = report.text(result).splitlines()
    assert len([line for line in lines if "annotations[" in line]) == report.PRINTED == 20
    assert lines[-1].strip() == "... and 4,980 more"


def test_no_cap_where_all_fit() -> None:
    result = made(*(finding("B05", f"annotations[{i}]", "outside") for i in range(20)))
    assert result.capped == ()
    assert "more" not in report.text(result)


def test_hostile_text_cannot_steer_a_terminal() -> None:
    result = made(finding("P04", "x.json, images[0]", "file_name \x1b[2Jx\nfake: line\u202e", item="\x07", hint="\r"))
    text = report.text(result)
    assert len(text.splitlines()) == 3
    assert all(line.isprintable() for line in text.splitlines())


def test_what_is_said_of_a_finding() -> None:
    one = finding("R02", "x.json, annotations[1].image_id", "refers to 9", item="5", hint="drop it")
    assert report.line(one) == "x.json, annotations[1].image_id (id 5): refers to 9; drop it"
    assert report.line(one, "x.json") == "annotations[1].image_id (id 5): refers to 9; drop it"
    assert report.line(finding("A08", "x.json", "numpy"), "x.json") == "numpy"


def test_rules_that_were_not_run_are_said() -> None:
    skipped = report.NotRun(codes=("I01", "I02", "I03", "I05", "R07"), reason="no folder")
    assert "not run: I01-I03, I05, R07: no folder" in report.text(made(not_run=(skipped,)))


def test_json_holds_everything(coco: Callable[..., Report]) -> None:
    result = coco(lambda data: data["annotations"][1].update(image_id=99))
    plain = msgspec.json.decode(msgspec.json.encode(result))
    assert plain["report"] == "curate verify"
    assert plain["verdict"] == "errors"
    assert plain["counts"] == {"images": 3, "annotations": 4, "categories": 2}
    assert plain["totals"] == [
        {
            "code": "R02",
            "title": "reference to an image or category that is not there",
            "errors": 1,
            "warnings": 0,
            "infos": 0,
        }
    ]
    assert plain["findings"][0]["item"] == "1"
    assert "R02" in plain["checked"]
    schema = msgspec.json.schema(Report)
    pytest.importorskip("jsonschema").validate(msgspec.json.decode(msgspec.json.encode(result)), schema)


def test_a_file_of_a_folder_is_named_without_the_folder() -> None:
    def shown(where: str, path: str) -> str:
        return report.line(finding("V01", where, "is missing"), path)

    assert shown("rel/in/README.md", "rel") == "in/README.md: is missing"
    assert shown("rel, a.json", "rel") == "a.json: is missing"
    assert shown("/other/README.md", "rel") == "/other/README.md: is missing"

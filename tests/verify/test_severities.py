"""A project's own severities: read, refused, applied, and told in the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curate.errors import UsageError
from curate.model import Record
from curate.verify import Report, report, severities, verify


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[severity]\nR08 = "error" # all\nB04 = "info"\n')
    assert severities.read(file) == {"B04": "info", "R08": "error"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[severity]\nZ99 = "error"', "Z99"),
        ('[severity]\nB04 = "fatal"', "'fatal'.*error, warning, info"),
        ("[severity]\nB04 = 1", "is 1"),
        ("[severity\n", "no TOML"),
        ('B04 = "error"', r"expected the table \[severity\]"),
        ('[severity]\nB04 = "error"\n[other]', "other"),
        ("", "nothing"),
        ("a" * (2 << 20), "1 MiB"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=expected):
        severities.read(file)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        severities.read(tmp_path / "absent.toml")


def test_severities_are_raised_and_lowered_and_it_is_said(coco: Callable[..., Report], records: list[Record]) -> None:
    def damage(data: dict[str, list[dict[str, object]]]) -> None:
        data["annotations"][0]["bbox"] = [200, 200, 5, 5]

    assert coco(damage).verdict == "errors"
    lowered = coco(damage, severities={"B05": "warning"})
    assert (lowered.verdict, [one.severity for one in lowered.findings]) == ("no errors", ["warning"])
    assert "severities by configuration: B05 warning (else error)" in report.text(lowered)
    assert coco(severities={"B05": "warning"}).verdict == "no errors"
    box = [10, 10, 5, 5]
    for kwargs, verdict in (({}, "no errors"), ({"severities": {"B09": "error"}}, "errors")):
        raised = coco(
            lambda data: data["annotations"][3].update(bbox=box, area=99, segmentation=[[10, 10, 15, 10, 15, 15]]),
            **kwargs,
        )
        assert raised.verdict == verdict


def test_what_cannot_be_read_stays_an_error(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"images": [')
    assert verify(file, severities={"F04": "info"}).verdict == "errors"

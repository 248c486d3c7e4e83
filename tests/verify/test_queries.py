"""Queries and gallery."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from curate.model import Annotation, Category, Coverage, Image, Judgement, Member, Query, Record
from curate.verify import Report

Check = Callable[..., Report]


def found(report: Report) -> list[tuple[str, str | None]]:
    return [(one.code, one.item) for one in report.findings]


@pytest.mark.parametrize("role", ["gallery", "distractor"])
def test_a_query_image_in_the_gallery(check: Check, records: list[Record], role: str) -> None:
    report = check([*records, Member(image_id="toy/q1", role=role)], skip=["Q02"])
    assert found(report) == [("Q01", "toy/q1")]
    assert report.verdict == "errors"


def test_a_copy_of_a_query_image_in_the_gallery(check: Check, records: list[Record]) -> None:
    copied = [
        msgspec.structs.replace(r, sha256="aa") if isinstance(r, Image) and r.id == "toy/g2" else r for r in records
    ]
    report = check(copied, skip=["R07"])
    assert found(report) == [("Q01", "toy/g2")]
    assert "toy/q1" in report.findings[0].message


def test_queries_without_positive(check: Check, records: list[Record]) -> None:
    bare = Query(id="q2", kind="text", text="a saucer", instance="set/1x")
    report = check([*records, bare], skip=["R03"])
    assert found(report) == [("Q02", "q2")]


def test_a_judgement_makes_a_positive(check: Check, records: list[Record]) -> None:
    bare = Query(id="q2", kind="text", text="a saucer")
    assert found(check([*records, bare])) == [("Q02", "q2")]
    for label, expected in (("hard", []), ("junk", [("Q02", "q2")]), ("negative", [("Q02", "q2")])):
        judged = Judgement(query_id="q2", image_id="toy/g2", label=label)  # type: ignore[arg-type]
        assert found(check([*records, bare, judged], skip=["Q09"])) == expected


def test_of_withheld_labels_no_positive_is_expected(check: Check, records: list[Record]) -> None:
    bare = Query(id="q2", kind="text", text="a saucer", category="saucer")
    saucer = Category(name="saucer")
    for category, severity in (("*", "info"), ("saucer", "info"), ("cup", "error")):
        withheld = Coverage(scope="toy/g2", category=category, state="withheld")
        (one,) = check([*records, bare, saucer, withheld], skip=["Q07"]).findings
        assert (one.code, one.item, one.severity) == ("Q02", "q2", severity)


def test_proposals_make_no_positive(check: Check, records: list[Record]) -> None:
    def demoted(record: Record) -> Record:
        if isinstance(record, Annotation) and record.image_id == "toy/g1":
            return msgspec.structs.replace(record, status="proposal")
        return record

    assert found(check([demoted(r) for r in records])) == [("Q02", "q1")]


def test_a_distractor_that_shows_an_instance(check: Check, records: list[Record]) -> None:
    shown = Annotation(id="x", image_id="toy/g3", category="cup", instance="set/1", x=1, y=1, w=9, h=9)
    report = check([*records, shown])
    assert found(report) == [("Q02", "x")]


def test_a_dataset_without_queries_is_quiet(check: Check, records: list[Record]) -> None:
    assert not check([r for r in records if not isinstance(r, Query | Member)]).findings

"""Splits, support sets, judgements, withheld labels, dates: each fault alone in a sound dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from curate.dataset import Dataset, from_records
from curate.model import (
    Annotation,
    Command,
    Counts,
    Coverage,
    Image,
    Info,
    Instance,
    Judgement,
    Member,
    Parent,
    Query,
    Record,
    SourceRecord,
    Support,
    finding,
)
from curate.verify import Report, verify

Check = Callable[..., Report]


def found(report: Report) -> list[tuple[str, str, str | None]]:
    return [(one.code, one.severity, one.item) for one in report.findings]


def changed(records: list[Record], kind: type[Any], changes: dict[str, dict[str, Any]]) -> list[Record]:
    def change(record: Any) -> Any:
        return msgspec.structs.replace(record, **changes.get(record.id, {})) if isinstance(record, kind) else record

    return [change(record) for record in records]


def images(records: list[Record], **changes: dict[str, Any]) -> list[Record]:
    return changed(records, Image, {f"toy/{name}": change for name, change in changes.items()})


def test_a_picture_in_two_splits(check: Check, records: list[Record]) -> None:
    broken = images(records, g1={"split": "train", "sha256": "bb"}, g2={"split": "test", "sha256": "bb"})
    report = check(broken, skip=["R07"])
    assert found(report) == [("Q03", "error", "toy/g2")]
    assert "toy/g1 in train, toy/g2 in test" in report.findings[0].message
    same = images(records, g1={"split": "train", "sha256": "bb"}, g2={"split": "train", "sha256": "bb"})
    assert not check(same, skip=["R07"]).findings


def test_a_sequence_in_two_splits(check: Check, records: list[Record]) -> None:
    drive = {"sequence": "drive 1"}
    report = check(images(records, q1=drive | {"split": "train"}, g1=drive | {"split": "test"}, g2=drive))
    assert found(report) == [("Q03", "warning", "toy/q1")]  # g2 is of toy/train, as its source has it
    assert "test" in report.findings[0].message
    assert not check(images(records, g1=drive, g2=drive)).findings
    # The same word at two sources is two sequences.
    elsewhere = Image(id="other/a", source="other", sequence="drive 1", split="test")
    assert not check([*images(records, g1=drive | {"split": "train"}), elsewhere]).findings


def declared(records: list[Record], counts: Counts, verb: str = "import") -> Dataset:
    sources = {"toy": SourceRecord(title="toy", found=counts)}
    return from_records(Info(name="toy", sources=sources, command=Command(verb=verb)), records)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(images=4, annotations=6), []),
        (Counts(images=4), []),
        (Counts(images=5, annotations=6), ["4 images; expected 5"]),
        (Counts(images=4, annotations=7), ["6 annotations; expected 7"]),
    ],
)
def test_declared_counts(records: list[Record], counts: Counts, expected: list[str]) -> None:
    report = verify(declared(records, counts), only=["Q04"])
    assert [one.message.partition(" as ")[0] for one in report.findings] == expected
    # A subset has fewer, and says so in its steps.
    assert not verify(declared(records, counts, "build subset"), only=["Q04"]).findings


@pytest.mark.parametrize(
    ("first", "second", "bad"),
    [
        (("easy", None), ("junk", "toy/g1#0"), True),
        (("positive", "toy/g1#0"), ("negative", None), True),
        (("easy", "toy/g1#0"), ("junk", "toy/g1#1"), False),  # two objects
        (("easy", None), ("hard", "toy/g1#0"), False),
        (("junk", None), ("negative", "toy/g1#0"), False),
    ],
)
def test_contradicting_judgements(check: Check, records: list[Record], first: Any, second: Any, bad: bool) -> None:
    judged = [
        Judgement(query_id="q1", image_id="toy/g1", label=label, annotation_id=thing, origin="human:a")
        for label, thing in (first, second)
    ]
    assert found(check([*records, *judged], skip=["Q02"])) == ([("Q05", "error", "q1")] if bad else [])


def test_dates_of_distractors(check: Check, records: list[Record]) -> None:
    dated = changed(records, Instance, {"set/1": {"exists_since": "2020-03-01"}})

    def of(date: str | None) -> list[tuple[str, str, str | None]]:
        return found(check(images(dated, g3={"taken_at": date})))

    assert of("2019-12-31T23:00:00") == []
    assert of("2014") == []
    assert of("2020-03-02") == [("Q06", "error", "toy/g3")]
    assert of("2021") == [("Q06", "error", "toy/g3")]
    assert of(None) == [("Q06", "warning", None)]
    assert of("2020") == [("Q06", "warning", None)]  # of that year, before or after
    assert of("2000-01-01T00:00:00") == [("Q06", "warning", None)]  # a clock that was never set
    assert found(check(images(records, g3={"taken_at": "2030"}))) == []  # no instance is dated


def test_a_cut_off_that_the_lineage_states(records: list[Record]) -> None:
    build = Command(verb="build leakage", options={"look": ["time"], "before": "2019-06-01"})
    parent = Parent(name="checked", fingerprint="f" * 64, command=build)
    later = Info(name="toy", sources={"toy": SourceRecord(title="toy")}, parents=(parent,))

    def of(taken: str, since: str) -> list[tuple[str, str, str | None]]:
        rows = changed(records, Instance, {"set/1": {"exists_since": since}})
        report = verify(from_records(later, images(rows, g3={"taken_at": taken})), only=["Q06"])
        assert all("2019-06-01" in one.message for one in report.findings)
        return found(report)

    assert of("2019-05-31", "2019-06-01") == []
    assert of("2019-06-02", "2020-03-01") == [("Q06", "error", "toy/g3")]
    assert of("2014", "2019-05-31") == [("Q06", "error", "set/1")]


def test_what_a_build_noticed(records: list[Record]) -> None:
    told = [finding(code, "category cup", "too few", item="cup") for code in ("Q10", "Q11", "Q12", "N05")]
    report = verify(from_records(Info(name="toy", sources={"toy": SourceRecord(title="toy")}), [*records, *told]))
    assert found(report) == [(code, "warning", "cup") for code in ("Q10", "Q11", "Q12")]


def test_people_and_tokens_in_the_tables(check: Check, records: list[Record]) -> None:
    told = changed(records, Annotation, {"toy/g1#0": {"origin": "human:ann@example.org"}})
    told = changed(told, Annotation, {"toy/g2#0": {"attributes": {"url": "https://h/x?sig=0123456789abcdef"}}})
    told = changed(told, Annotation, {"toy/g2#fog": {"attributes": {"flickr": "12@N00_7.jpg"}}})
    report = check(told)
    assert found(report) == [("L08", "warning", "toy/g1#0"), ("L08", "warning", "toy/g2#0")]
    assert "example.org" not in str(report)


def test_dates_of_distractors_are_counted_by_their_evidence(check: Check, records: list[Record]) -> None:
    """Two proven, one claimed, one contradicted (g3), one unknown."""
    rows = [msgspec.structs.replace(r, exists_since="2020-03-01") if isinstance(r, Instance) else r for r in records]
    rows = images(rows, g3={"taken_at": "2021"})
    for name, date, evidence in (
        ("a", "2014", "proven"),
        ("b", "2015", "proven"),
        ("c", "2016", None),
        ("d", None, None),
    ):
        rows.append(Image(id=f"toy/{name}", source="toy", taken_at=date, date_evidence=evidence))  # type: ignore[arg-type]
        rows.append(Member(image_id=f"toy/{name}", role="distractor"))
    told = [one.message for one in check(rows, only=["Q06"]).findings if one.severity == "warning"]
    assert told == [
        "1 of 5 distractors have no date that shows them to be older than 2020-03-01; of the others 2 proven, "
        "1 claimed, 1 contradicted"
    ]


@pytest.mark.parametrize(
    ("scope", "category", "items"),
    [
        ("toy/g2", "*", ["toy/g2#0", "toy/g2#fog"]),
        ("toy/g2", "plate", ["toy/g2#0"]),
        ("toy/g2", "cup", []),
        ("toy/g1", "cup", ["toy/g1#0", "toy/g1#0p"]),  # and not the proposal
        ("toy/train", "fog", ["toy/g2#fog"]),
        ("toy/test", "fog", []),
    ],
)
def test_truth_that_is_withheld(
    check: Check, records: list[Record], scope: str, category: str, items: list[str]
) -> None:
    rows = [row for row in records if not (isinstance(row, Coverage) and scope == "toy/train")]
    report = check([*rows, Coverage(scope=scope, category=category, state="withheld")], only=["Q07"])
    assert found(report) == [("Q07", "error", item) for item in items]


def test_what_a_query_or_a_support_set_shows_is_not_withheld(check: Check, records: list[Record]) -> None:
    rows = [*records, Coverage(scope="toy/g2", category="*", state="withheld")]
    shown = Support(query_id="q1", rank=0, image_id="toy/g2", annotation_id="toy/g2#0")
    assert found(check([*rows, shown], only=["Q07"])) == [("Q07", "error", "toy/g2#fog")]
    fog = Query(id="qf", kind="image", image_id="toy/g2", annotation_id="toy/g2#fog")
    assert found(check([*rows, shown, fog], only=["Q07"])) == []


def test_a_support_image_in_the_gallery(check: Check, records: list[Record]) -> None:
    outside = Image(id="toy/s", source="toy", width=9, height=9, file_name="s.png", sha256="ee")

    def of(image_id: str, sha256: str = "ee") -> list[tuple[str, str, str | None]]:
        held = msgspec.structs.replace(outside, sha256=sha256)
        rows = [Support(query_id="q1", rank=rank, image_id=image_id) for rank in (0, 1)]
        return found(check([*records, held, *rows], only=["Q08"]))

    assert of("toy/s") == []
    assert of("toy/q1") == []
    assert of("toy/g1") == of("toy/g1") == [("Q08", "error", "toy/g1")]
    assert of("toy/g3") == [("Q08", "error", "toy/g3")]  # a distractor
    assert of("toy/s", sha256="cc") == [("Q08", "error", "toy/s")]  # a copy of g2


def test_a_support_image_whose_sequence_is_searched(check: Check, records: list[Record]) -> None:
    def of(sequence: str | None, source: str = "toy") -> list[tuple[str, str, str | None]]:
        held = [msgspec.structs.replace(r, sequence="x") if getattr(r, "id", "") == "toy/g1" else r for r in records]
        more = Image(id=f"{source}/s", source=source, sequence=sequence)
        return found(check([*held, more, Support(query_id="q1", rank=0, image_id=more.id)], only=["Q08"]))

    assert of("x") == [("Q08", "error", "toy/s")]
    assert of("y") == of(None) == of("x", source="other") == []  # of another source it is another sequence


def test_a_support_set_as_its_source_publishes_it(records: list[Record]) -> None:
    """That its sequence is searched is then a note; that the image itself or a copy of it is stays an error."""

    def of(**more: str) -> str:
        held = [msgspec.structs.replace(r, sequence="x") if getattr(r, "id", "") == "toy/g1" else r for r in records]
        image = Image(id="toy/s", source="toy", **more)
        shown = Support(query_id="q1", rank=0, image_id="toy/s")
        made = from_records(Info(name="toy", command=Command(verb="import")), [*held, image, shown])
        return "".join(one.severity for one in verify(made, only=["Q08"]).findings)

    assert (of(sequence="x"), of(sequence="y"), of(sha256="bb", sequence="x")) == ("info", "", "error")


def test_a_sequence_of_query_and_gallery(check: Check, records: list[Record]) -> None:
    """q1 asks; g1 and g2 are the gallery. A query that is searched itself is no neighbour of itself."""

    def of(*names: str, **more: Record) -> list[tuple[str, str, str | None]]:
        held = [
            msgspec.structs.replace(r, sequence="x") if isinstance(r, Image) and r.id[4:] in names else r
            for r in records
        ]
        return found(check([*held, *more.values()], only=["Q03"]))

    assert of("q1", "g1", "g2") == [("Q03", "warning", "toy/g1")]
    split = [msgspec.structs.replace(r, sequence="x") if isinstance(r, Image) else r for r in records]
    (one,) = check(split, only=["Q03"]).findings
    assert "image toy/g1 is searched, and query image toy/q1 is of its sequence 'toy/x'" in one.message
    assert of("q1", "g3") == [("Q03", "warning", "toy/g3")]  # a distractor
    assert of("g1", "g2") == of("q1") == []
    assert of("q1", own=Member(image_id="toy/q1", role="gallery")) == []
    # As a source publishes it, it is a note; as we divide it, it is not.
    held = [msgspec.structs.replace(r, sequence="x") if isinstance(r, Image) else r for r in records]
    for verb, severity in (("import", "info"), ("build subset", "info"), ("build split query-gallery", "warning")):
        parents = (Parent(name="raw", fingerprint="", command=Command(verb="import")),)
        data = from_records(Info(name="toy", command=Command(verb=verb), parents=parents), held)
        (one,) = verify(data, only=["Q03"]).findings
        assert one.severity == severity
    # Where the splits say it, it is said once.
    split = [
        msgspec.structs.replace(r, split="query" if r.id == "toy/q1" else "gallery", sequence="x")
        if isinstance(r, Image)
        else r
        for r in records
    ]
    assert [message for *_, message in [(one.code, one.message) for one in check(split, only=["Q03"]).findings]] == [
        "sequence 'toy/x' spans the splits gallery, query; expected one split to a sequence"
    ]


def test_negatives_that_nobody_looked_for(check: Check, records: list[Record]) -> None:
    def of(state: Any, origin: str = "source", label: Any = "negative") -> list[tuple[str, str, str | None]]:
        coverage = Coverage(scope="toy/g2", category="*", state=state)
        judged = Judgement(query_id="q1", image_id="toy/g2", label=label, origin=origin)
        return found(check([*records, coverage, judged], only=["Q09"]))

    assert of("exhaustive") == []
    assert of("partial") == [("Q09", "warning", None)]
    assert of("none") == [("Q09", "warning", None)]
    assert of("partial", origin="human:ann") == []
    assert of("partial", label="junk") == []


def test_a_crowd_without_run_lengths(check: Check, records: list[Record]) -> None:
    outline = {"polygons": [[[0.0, 0.0, 9.0, 0.0, 9.0, 9.0]]], "x": 0.0, "y": 0.0, "w": 9.0, "h": 9.0}
    crowd = Annotation(id="toy/g2#crowd", image_id="toy/g2", category="plate", iscrowd=True, **outline)  # type: ignore[arg-type]
    assert found(check([*records, crowd])) == [("M07", "warning", "toy/g2#crowd")]
    assert not check([*records, msgspec.structs.replace(crowd, iscrowd=False)]).findings

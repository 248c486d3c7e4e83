"""``anns.pt``: upstream's own file, the one with listed faults, and single faults in a small sound file."""

from __future__ import annotations

import copy
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate import torch_zip
from curate.verify import Report, verify

Entries = dict[Any, Any]


def sound() -> Entries:
    """Two queries and two gallery images: corners inclusive in queries, exclusive in the gallery."""
    rle = {"counts": [70, 3, 12, 4, 103], "size": [12, 16]}
    return {
        "OWID/P1/1/rgb/000000.png": {
            "bbox": (5, 4, 8, 9),
            "mask": {**rle, "size": (12, 16), "transpose": False},
            "is_query": True,
            "is_val": False,
            "ins": 1,
            "set": "OWID",
        },
        "RoboTools/test_video/obj_000001/rgb/000000.png": {
            "bbox": (0, 0, 15, 11),
            "mask": {"counts": [0, 192], "size": (12, 16), "transpose": False},
            "is_query": True,
            "is_val": False,
            "ins": 1,
            "set": "RoboTools",
        },
        "OWID/P2/images/000000.jpg": {
            "bbox": [(0, 0, 16, 12), (1.5, 2.5, 4, 4)],
            "mask": [rle, []],
            "is_query": False,
            "is_val": True,
            "ins": [1, 0],
            "num_ins": [2, 2],
            "set": "OWID",
        },
        "RoboTools/test/L01/rgb/000000.png": {
            "bbox": [[1, 2, 5, 6]],
            "mask": [],
            "is_query": False,
            "is_val": False,
            "ins": [1],
            "num_ins": [],
            "set": "RoboTools",
        },
    }


QUERY, ROBO_QUERY, GALLERY, ROBO_GALLERY = sound()


@pytest.fixture
def anns(tmp_path: Path) -> Callable[..., Report]:
    def run(damage: Callable[[Entries], object] = lambda entries: None, **options: Any) -> Report:
        entries = sound()
        damage(entries)
        with (tmp_path / "anns.pt").open("wb") as stream:
            torch_zip.save(entries, stream)
        return verify(tmp_path / "anns.pt", **options)

    return run


def put(key: str, **fields: Any) -> Callable[[Entries], object]:
    return lambda entries: entries[key].update(fields)


def rename(key: str, new: Any) -> Callable[[Entries], None]:
    def damage(entries: Entries) -> None:
        entries[new] = entries.pop(key)

    return damage


def test_a_sound_file(anns: Callable[..., Report]) -> None:
    report = anns()
    assert (report.kind, report.verdict, report.findings) == ("anns_pt", "no errors", ())
    assert report.counts == {"queries": 2, "gallery images": 2}


@pytest.mark.parametrize(
    ("damage", "code", "severity", "key"),
    [
        (lambda e: e[QUERY].pop("bbox"), "A02", "error", QUERY),
        (lambda e: e[QUERY].pop("ins"), "A02", "error", QUERY),
        (lambda e: e[QUERY].pop("set"), "A02", "error", QUERY),
        (lambda e: e[ROBO_GALLERY].pop("is_query"), "A02", "error", ROBO_GALLERY),
        (lambda e: e[QUERY].pop("is_val"), "A02", "warning", QUERY),
        (put(QUERY, is_query=1), "A02", "error", QUERY),
        (put(QUERY, is_val="no"), "A02", "error", QUERY),
        (put(QUERY, bbox=(1, 2, 3)), "A02", "error", QUERY),
        (put(QUERY, bbox=[[1], [2], [3], [4]]), "A02", "error", QUERY),
        (put(QUERY, bbox=(True, 2, 3, 4)), "A02", "error", QUERY),
        (put(QUERY, ins="1"), "A02", "error", QUERY),
        (put(GALLERY, bbox=((0, 0, 16, 12), (1, 2, 4, 4))), "A02", "error", GALLERY),
        (put(GALLERY, bbox=[(0, 0, 16, 12), (1, 2, 4)]), "A02", "error", GALLERY),
        (put(GALLERY, ins=[1, "0"]), "A02", "error", GALLERY),
        (put(GALLERY, mask=[{"counts": [1, 2]}, []]), "A02", "error", GALLERY),
        (lambda e: e.update({GALLERY + "x": 5}), "A02", "error", GALLERY + "x"),
        (put(GALLERY, bbox=[(0, 0, 16, 12)]), "A03", "error", GALLERY),
        (put(GALLERY, mask=[[], [], []]), "A03", "error", GALLERY),
        (put(GALLERY, num_ins=[2]), "A03", "error", GALLERY),
        (put(QUERY, bbox=[(5, 4, 8, 9), (1, 1, 2, 2)]), "A04", "error", QUERY),
        (put(QUERY, mask=[{"counts": [192], "size": (12, 16)}]), "A04", "error", QUERY),
        (put(QUERY, bbox=(8, 4, 5, 9)), "A05", "error", QUERY),
        (put(QUERY, bbox=(5, 4, float("nan"), 9)), "A05", "error", QUERY),
        (put(QUERY, bbox=(5, 4, 30, 9)), "A05", "error", QUERY),
        (put(GALLERY, bbox=[(0, 0, 16, 12), (3, 2, 1, 4)]), "A05", "error", GALLERY),
        (put(GALLERY, bbox=[(0, 0, 18, 12), (1, 2, 4, 4)]), "A05", "error", GALLERY),
        (put(GALLERY, bbox=[(0, 0, 16, 12), (1, 2, 1, 4)]), "B03", "warning", GALLERY),
        (put(ROBO_QUERY, set="LMO"), "A06", "error", ROBO_QUERY),
        (rename(QUERY, "/data/" + QUERY), "A07", "warning", "/data/" + QUERY),
        (rename(QUERY, "../" + QUERY), "A07", "error", "../" + QUERY),
        (rename(QUERY, "a/%2e%2e/../../" + QUERY), "A07", "error", "a/%2e%2e/../../" + QUERY),
        (
            put(QUERY, mask={"counts": [192], "size": (12, 16)}, bbox=(0, 0, 16, 12)),
            "A09",
            "warning",
            QUERY,
        ),
        (put(QUERY, mask={"counts": [191], "size": (12, 16)}), "M04", "error", QUERY),
        (put(QUERY, mask={"counts": [193, -1], "size": (12, 16)}), "M04", "error", QUERY),
        (put(QUERY, mask={"counts": "4o0", "size": (12, 16)}), "M04", "error", QUERY),
        (put(QUERY, mask={"counts": [10**10], "size": (10**5, 10**5)}), "M06", "error", QUERY),
        (put(GALLERY, mask=[[[1, 2, 3]], []]), "M01", "error", GALLERY),
        (put(GALLERY, mask=[[[1, 2, 3, 4, 5, float("inf")]], []]), "M02", "error", GALLERY),
        (put(GALLERY, ins=[2, 0]), "Q02", "error", QUERY),
        (put(QUERY, set="RoboTools", ins=7), "Q02", "error", QUERY),
        (rename(GALLERY, GALLERY + "\0"), "F10", "error", GALLERY + "\0"),
        (rename(GALLERY, "http://example.org/a.jpg"), "P02", "error", "http://example.org/a.jpg"),
        (rename(ROBO_GALLERY, GALLERY.upper()), "P04", "warning", GALLERY),
    ],
)
def test_one_fault(anns: Callable[..., Report], damage: Any, code: str, severity: str, key: str) -> None:
    report = anns(damage, skip=["Q02"] if code != "Q02" else [])
    assert [(one.code, one.severity, one.item) for one in report.findings] == [(code, severity, key)]


def test_sets_share_numbers(anns: Callable[..., Report]) -> None:
    """RoboTools 1 in the gallery is no positive of OWID 1."""
    report = anns(put(GALLERY, ins=[5, 0]))
    assert [(one.code, one.item) for one in report.findings] == [("Q02", QUERY)]


def test_sets_of_another_benchmark_are_its_own(anns: Callable[..., Report]) -> None:
    def damage(entries: Entries) -> None:
        for entry in entries.values():
            entry["set"] = "instre"

    assert [one.code for one in anns(damage, skip=["Q02"]).findings] == []


def test_is_val_that_is_missing_everywhere_is_one_warning(anns: Callable[..., Report]) -> None:
    report = anns(lambda entries: [entry.pop("is_val") for entry in entries.values()])
    assert [(one.code, one.severity) for one in report.findings] == [("A02", "warning")]
    assert "none of 4 entries" in report.findings[0].message


def test_absolute_keys_are_one_warning(anns: Callable[..., Report]) -> None:
    def damage(entries: Entries) -> None:
        for key in list(entries):
            rename(key, "/data/" + key)(entries)

    report = anns(damage)
    assert [(one.code, one.severity) for one in report.findings] == [("A07", "warning")]
    assert "4 of 4 keys" in report.findings[0].message


def test_files_are_looked_for_below_a_root(anns: Callable[..., Report], tmp_path: Path) -> None:
    report = anns()
    assert any("4 images of anns_pt" in skipped.reason for skipped in report.not_run)
    report = anns(roots={"anns_pt": tmp_path})
    assert {(one.code, one.item) for one in report.findings} == {("I01", key) for key in sound()}


def write_pickle(path: Path, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    return path


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch run",)


def test_a_pickle_that_wants_to_run_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = verify(write_pickle(tmp_path / "anns.pt", pickle.dumps({"x": Hostile()}, protocol=2)))
    (one,) = report.findings
    assert (one.code, report.verdict) == ("A01", "errors")
    assert "system" in one.message
    assert not (tmp_path / "run").exists()


def test_other_pickles(tmp_path: Path) -> None:
    def code(data: bytes) -> list[str]:
        return [one.code for one in verify(write_pickle(tmp_path / "anns.pt", data)).findings]

    assert code(pickle.dumps([1, 2], protocol=2)) == ["A02"]
    assert code(pickle.dumps({}, protocol=2)) == ["A02"]
    deep: list[Any] = []
    for _ in range(50):
        deep = [deep]
    assert code(pickle.dumps({"x": deep}, protocol=2)) == ["A02"]
    shared: list[Any] = [1]
    for _ in range(40):
        shared = [shared, shared]
    assert code(pickle.dumps({"x": shared}, protocol=2)) == ["A02"]


def test_a_damaged_container(anns: Callable[..., Report], tmp_path: Path) -> None:
    anns()
    file = tmp_path / "anns.pt"
    file.write_bytes(file.read_bytes()[:-30])
    assert [one.code for one in verify(file).findings] == ["F04"]
    file.write_bytes(b"\x80\x02}q\x00.")
    report = verify(file)
    assert [one.code for one in report.findings] == ["F09"]
    assert "is a pickle of" in report.findings[0].message


# -------------------------------------------------------------------------------------------------------- golden data

# The rules by which the listed faults must be found.
RULES = {
    "query without 'bbox'": "A02",
    "query without 'ins'": "A02",
    "query box with three numbers": "A02",
    "'is_query' is the integer 1": "A02",
    "query mask wrapped in a list": "A04",
    "query box is four lists of one number": "A02",
    "'is_val' is a string": "A02",
    "'is_val' absent": "A02",
    "query instance that no gallery image shows": "Q02",
    "gallery 'bbox' is a tuple": "A02",
    "one gallery box more than instances and masks": "A03",
    "one gallery mask too few": "A03",
    "gallery RLE without 'size'": "A02",
    "one gallery instance id too few": "A03",
}
# Category 7 of the golden tree has views but is in no scene.
WITHOUT_SCENE = {"tree/OWID/P1/7/rgb/000000.png", "tree/OWID/P1/7/rgb/000001.png"}
EMPTY_MASKS = {"tree/OWID/P1/0/rgb/100004.png", "tree/OWID/P1/1/rgb/100012.png"}


def test_upstreams_own_file(shared: Path) -> None:
    golden = shared / "golden" / "voxdet_soir"
    report = verify(golden / "anns.pt", roots={"anns_pt": golden}, level="deep")
    by_code: dict[tuple[str, str], set[str | None]] = {}
    for one in report.findings:
        by_code.setdefault((one.code, one.severity), set()).add(one.item)
    absent = {f"tree/OWID/P2/images/{name}.jpg" for name in ("900003", "900007")}
    assert by_code == {
        ("A02", "warning"): {None},  # is_val, in no entry
        ("A08", "warning"): {None},
        ("A09", "warning"): EMPTY_MASKS,
        ("I01", "error"): absent,
        ("Q02", "error"): WITHOUT_SCENE,
    }


def test_every_listed_fault_is_found_at_its_entry_and_nothing_else(shared: Path) -> None:
    golden = shared / "golden" / "voxdet_soir"
    report = verify(golden / "faulty_anns.pt", roots={"anns_pt": golden})
    listed = json.loads((golden / "faulty_faults.json").read_text())
    expected = {(RULES.get(fault["fault"], "I01"), fault["path"]) for fault in listed}
    expected |= {("Q02", key) for key in WITHOUT_SCENE} | {("A09", key) for key in EMPTY_MASKS}
    expected |= {("I01", f"tree/OWID/P2/images/{name}.jpg") for name in ("900003", "900007")}
    assert {(one.code, one.item) for one in report.findings if one.item} == expected


NUMBERS = (0, -1, 1.5, float("nan"), float("inf"), 2**70, 10**400)
OTHERS = (None, True, "", "x", b"x", "\ud800", [], {}, (), [[]], [{}], [[1, 2]], (10**400, 0, 0, 0))
VALUES = st.sampled_from([*NUMBERS, *OTHERS]).map(copy.deepcopy)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_value_in_any_place_is_a_traceback(anns: Callable[..., Report], data: st.DataObject) -> None:
    def damage(entries: Entries) -> None:
        key = data.draw(st.sampled_from(sorted(entries)))
        field = data.draw(st.sampled_from(["", *sorted(entries[key])]))
        if not field:
            entries[key] = data.draw(VALUES)
            return
        value = entries[key][field]
        if isinstance(value, dict) and data.draw(st.booleans()):
            value[data.draw(st.sampled_from(sorted(value)))] = data.draw(VALUES)
        elif isinstance(value, list) and value and data.draw(st.booleans()):
            value[0] = data.draw(VALUES)
        else:
            entries[key][field] = data.draw(VALUES)

    assert anns(damage).kind == "anns_pt"


def test_captions_are_no_annotations(tmp_path: Path) -> None:
    """As ``curate export captions_pt`` writes them."""
    box = {"bboxes": [[1, 2, 3, 4]], "scores": [1.0], "masks_rle": [], "image_path": "a.png", "image_size": (9, 9)}
    with (tmp_path / "captions.pt").open("wb") as stream:
        torch_zip.save({"a.png": box}, stream)
    (one,) = verify(tmp_path / "captions.pt").findings
    assert (one.code, one.severity) == ("F09", "error")
    assert one.message.startswith("is a captions.pt (")

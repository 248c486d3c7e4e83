"""Folders: what they hold is told, and labels beside other things are never passed over."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as PilImage

from curate.errors import CurateError
from curate.verify import Report, severities, verify
from curate.verify.contents import kind_of
from tests.verify.conftest import not_waiting, sound_coco


def pictures(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    for i in range(2):
        PilImage.new("RGB", (40, 30), (i, i, i)).save(folder / f"images/{i}.png")
    return folder


def refused(path: Path) -> tuple[str, str | None]:
    report = verify(path)
    (one,) = report.findings
    assert (report.kind, one.code, one.severity) == ("unknown", "F09", "error")
    return one.message, one.hint


def coco(path: Path) -> None:
    data = sound_coco()
    path.write_text(json.dumps({"info": {"year": 1}, "annotations": data.pop("annotations"), **data}))


@pytest.mark.parametrize(
    ("name", "write", "shown"),
    [
        ("instances.json", coco, "instances.json (COCO JSON)"),
        ("anns.pt", lambda path: path.write_bytes(b"evil"), "anns.pt (an anns.pt)"),
        ("gnd_a.pkl", lambda path: path.write_bytes(b"evil"), "gnd_a.pkl (ground truth of revisitop)"),
        ("a.json", lambda path: path.write_text('[{"annotations": []}]'), "a.json (Label Studio's JSON)"),
        ("x/dataset.json", lambda path: path.write_text("{}"), "x/ (a dataset folder)"),
        ("x/SHA256SUMS", lambda path: path.write_text(""), "x/ (a release folder)"),
        ("x/a.xml", lambda path: path.write_text("<annotation/>"), "x/a.xml (VOC XML)"),
        ("x/searchad_annotations_val.json", coco, "x/searchad_annotations_val.json (SearchAD)"),
    ],
)
def test_labels_beside_pictures(tmp_path: Path, name: str, write: Callable[[Path], object], shown: str) -> None:
    pictures(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write(tmp_path / name)
    message, hint = refused(tmp_path)
    assert message == f"holds {shown}; 2 pictures; expected things of one kind"
    named = shown.partition(" (")[0]
    named = "x" if "SearchAD" in shown else named  # its files belong together
    assert hint == f"verify each by itself, as 'curate verify {tmp_path}/{named}'"


def test_labels_beside_voc_and_searchad(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<annotation/>")
    assert verify(tmp_path).kind == "voc"
    coco(tmp_path / "b.json")
    assert refused(tmp_path)[0] == "holds b.json (COCO JSON); a.xml (VOC XML); expected things of one kind"
    (tmp_path / "b.json").rename(tmp_path / "searchad_annotations_train.json")
    assert "SearchAD" in refused(tmp_path)[0]
    (tmp_path / "a.xml").unlink()
    assert verify(tmp_path).kind == "searchad"
    (tmp_path / "in").mkdir()
    shutil.copy(tmp_path / "searchad_annotations_train.json", tmp_path / "in")
    assert "in/searchad_annotations_train.json (SearchAD)" in refused(tmp_path)[0]


def test_other_files_beside_pictures(tmp_path: Path) -> None:
    pictures(tmp_path)
    for name in ("notes.txt", "camera.json"):
        (tmp_path / name).write_text('{"focal": [1]}')
    report = verify(tmp_path)
    (one,) = report.findings
    assert (report.kind, one.code, one.severity) == ("pictures", "F09", "warning")
    assert one.message.startswith("2 other files not looked at: camera.json, notes.txt;")


def test_other_files_beside_voc_and_searchad(tmp_path: Path) -> None:
    """Lists of images are part of VOC's tree, examples of each class one of SearchAD's."""
    voc, searchad = tmp_path / "voc", tmp_path / "searchad"
    for name in ("voc/ImageSets/Main", "searchad/default_queries"):
        (tmp_path / name).mkdir(parents=True)
    (voc / "a.xml").write_text("<annotation/>")
    (voc / "ImageSets/Main/train.txt").write_text("a")
    (searchad / "searchad_annotations_train.json").write_text('{"a.png": []}')

    def passed_over(folder: Path) -> list[tuple[str, str]]:
        report = verify(folder, only=["F09"])
        assert report.kind == folder.name
        return [(one.severity, one.message) for one in report.findings]

    (searchad / "default_queries/Dog.json").write_text('{"supportsets": {"vision": {}}}')
    (searchad / "searchad_train_image_level_annotations_min_box_50.json").write_text("{}")
    assert passed_over(voc) == passed_over(searchad) == []
    (voc / "boxes.csv").write_text("")
    (searchad / "boxes.csv").write_text("")
    expected = "expected XML files, ImageSets and pictures"
    assert passed_over(voc) == [("info", f"1 other file not looked at: boxes.csv; {expected}")]
    expected = "expected SearchAD's files and pictures"
    assert passed_over(searchad) == [("info", f"1 other file not looked at: boxes.csv; {expected}")]
    (voc / "boxes.json").write_text("{}")
    (searchad / "more.json").write_text("{}")
    assert [severity for folder in (voc, searchad) for severity, _ in passed_over(folder)] == ["warning"] * 2


@pytest.mark.parametrize("form", ["revisitop", "lists"])
def test_an_export(tmp_path: Path, form: str) -> None:
    (tmp_path / "curate_export.json").write_text(json.dumps({"format": form, "files": []}))
    if form == "revisitop":
        (tmp_path / "gnd_a.pkl").write_bytes(b"")
        assert refused(tmp_path)[0].startswith("is an export to revisitop that holds gnd_a.pkl (")
    else:
        message, hint = refused(tmp_path)
        assert message.startswith("is an export to lists, which has no rules of its own; expected a dataset or release")
        assert hint == "verify the dataset that it was made from"


@pytest.mark.parametrize("mark", [b'{"format": "\xff"}', b'\xff\xfe{\0"\0', b"[", b"\0"])
def test_an_export_whose_mark_is_damaged(tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "curate_export.json").write_bytes(mark)
    assert refused(tmp_path)[0].startswith("is ")


@pytest.mark.parametrize("listed", [True, False])
def test_a_release_that_lost_its_list(tmp_path: Path, listed: bool) -> None:
    pictures(tmp_path)
    for name in ("statistics.json", "lineage.json", "README.md"):
        (tmp_path / name).write_text("{}")
    if listed:
        os.mkfifo(tmp_path / "SHA256SUMS")
    with not_waiting():
        report = verify(tmp_path)
    (one,) = report.findings
    assert (report.kind, one.code, one.severity) == ("release", "F01" if listed else "V02", "error")
    if not listed:
        assert one.message == (
            "has statistics.json, lineage.json of a release but no SHA256SUMS; expected the list of its files"
        )


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ('{"images": [', "coco"),
        ('{"info": {"images": []}, "licenses": [], "annotations" : [{"id": 1', "coco"),
        ('{"tables": {"images": [1]}}', None),
        ('{"images": 3}', None),
        ('{"a": "images", "b": ["images"', None),
        ('["images"]', None),
        ("{", None),
    ],
)
def test_coco_by_its_beginning(head: str, kind: str | None) -> None:
    assert kind_of("in/a.json", head.encode()) == kind
    assert kind_of("in/a.txt", head.encode()) is None


def pipe_of_voc(folder: Path) -> Report:
    (folder / "a.xml").write_text("<annotation/>")
    os.mkfifo(folder / "b.xml")
    return verify(folder)


def pipe_in_a_release(folder: Path) -> Report:
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  README.md\n")
    os.mkfifo(folder / "README.md")
    return verify(folder)


@pytest.mark.parametrize(("make", "code"), [(pipe_of_voc, "F01"), (pipe_in_a_release, "V01")])
def test_pipes_are_not_waited_for(tmp_path: Path, make: Callable[[Path], Report], code: str) -> None:
    with not_waiting():
        report = make(tmp_path)
    assert code in [one.code for one in report.findings if one.severity == "error"]


def test_severities_from_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.toml")
    with not_waiting(), pytest.raises(CurateError, match="is not a regular file"):
        severities.read(tmp_path / "a.toml")

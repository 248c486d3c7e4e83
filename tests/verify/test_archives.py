"""Archives: members are checked, nothing is unpacked."""

from __future__ import annotations

import io
import json
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from PIL import Image as PilImage

from curate.verify import Report, verify
from tests.verify.conftest import sound_coco


def png_bytes() -> bytes:
    stream = io.BytesIO()
    PilImage.effect_noise((30, 20), 60).save(stream, "PNG")
    return stream.getvalue()


PNG = png_bytes()


def found(report: Report) -> list[tuple[str, str | None]]:
    return [(one.code, one.item) for one in report.findings]


def zip_of(path: Path, **members: bytes) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for name, data in members.items():
            archive.writestr(name.replace("_slash_", "/").replace("_dots_", "../"), data)
    return path


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_sound_archives(tmp_path: Path) -> None:
    report = verify(zip_of(tmp_path / "a.zip", **{"in/a.png": PNG, "b.json": b"{}"}))
    assert (report.kind, report.findings, report.counts) == ("archive", (), {"members": 2})
    info = tarfile.TarInfo("in/a.png")
    assert verify(tar_of(tmp_path / "a.tar.gz", (info, PNG))).findings == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "a.zip"]


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "in/../../a.png", "C:/a.png", "..\\a.png", "%2e%2e/a.png"])
def test_members_that_escape(tmp_path: Path, name: str) -> None:
    assert found(verify(zip_of(tmp_path / "a.zip", **{name: PNG}))) == [("X01", name)]
    assert found(verify(tar_of(tmp_path / "a.tgz", (tarfile.TarInfo(name), PNG)))) == [("X01", name)]


@pytest.mark.parametrize(
    ("kind", "target", "bad"),
    [
        (tarfile.SYMTYPE, "../../x", True),
        (tarfile.SYMTYPE, "/etc/passwd", True),
        (tarfile.LNKTYPE, "/etc/passwd", True),
        (tarfile.SYMTYPE, "../x", False),
        (tarfile.CHRTYPE, "", True),
        (tarfile.FIFOTYPE, "", True),
    ],
)
def test_links_and_devices(tmp_path: Path, kind: bytes, target: str, bad: bool) -> None:
    info = tarfile.TarInfo("in/a")
    info.type, info.linkname = kind, target
    assert found(verify(tar_of(tmp_path / "a.tgz", (info, b"")))) == ([("X01", "in/a")] if bad else [])


def test_a_bomb(tmp_path: Path) -> None:
    assert [code for code, _ in found(verify(zip_of(tmp_path / "a.zip", a=bytes(30 << 20)), level="quick"))] == ["X02"]


def test_a_size_that_is_a_lie(tmp_path: Path) -> None:
    file = zip_of(tmp_path / "a.zip", a=b"x" * 5000)
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (10).to_bytes(4, "little")
    file.write_bytes(data)
    (one,) = verify(file).findings
    assert one.code in ("X02", "X03")


def test_members_twice_and_twins(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        for name in ("a", "a", "B", "b"):
            archive.writestr(name, name)
    assert found(verify(path)) == [("X03", "a"), ("P04", "b")]


def test_a_damaged_member(tmp_path: Path) -> None:
    file = zip_of(tmp_path / "a.zip", a=PNG)
    data = bytearray(file.read_bytes())
    data[60] ^= 255
    file.write_bytes(data)
    assert [code for code, _ in found(verify(file))] == ["X03"]
    assert found(verify(file, level="quick")) == []  # which reads no member
    whole = tar_of(tmp_path / "a.tgz", (tarfile.TarInfo("a"), bytes(range(256)) * 4000))
    whole.write_bytes(whole.read_bytes()[:-40])
    assert [code for code, _ in found(verify(whole))] == ["X03"]


def test_an_encrypted_member(tmp_path: Path) -> None:
    file = zip_of(tmp_path / "a.zip", a=PNG)
    data = bytearray(file.read_bytes())
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(data)
    assert found(verify(file)) == [("X03", "a")]


def test_a_page_in_place_of_a_picture(tmp_path: Path) -> None:
    assert found(verify(zip_of(tmp_path / "a.zip", **{"a.jpg": b"<html>log in</html>"}))) == [("I07", "a.jpg")]


def broken_coco() -> bytes:
    data = sound_coco()
    data["annotations"][3]["bbox"] = [500, 500, 5, 5]
    return json.dumps(data).encode()


def test_label_files_within_are_checked_by_their_own_rules(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", **{"in/coco.json": broken_coco(), "in/a.xml": b"<annotation>"})
    report = verify(path)
    assert found(report) == [("B05", "3"), ("F04", "in/a.xml")]
    assert report.findings[0].where == f"{path}, in/coco.json, annotations[3].bbox"
    assert {"B05", "F04"} <= set(report.checked)
    assert found(verify(path, only=["B"])) == [("B05", "3")]
    assert found(verify(path, level="quick")) == []
    whole = tar_of(tmp_path / "a.tgz", (tarfile.TarInfo("coco.json"), broken_coco()))
    assert found(verify(whole)) == [("B05", "3")]
    sound = zip_of(tmp_path / "b.zip", **{"coco.json": json.dumps(sound_coco()).encode()})
    assert verify(sound).findings == ()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tgz", "a.zip", "b.zip"]


VOC = (
    "<annotation><filename>a.png</filename><size><width>30</width><height>20</height></size><object><name>x</name>"
    "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


def test_labels_that_begin_otherwise_or_are_cut(tmp_path: Path) -> None:
    data = json.loads(broken_coco())
    data = {"info": {"x": "y" * 100_000}, "annotations": data.pop("annotations"), **data}
    text = json.dumps(data).encode()
    assert found(verify(zip_of(tmp_path / "a.zip", **{"a.json": text}))) == [("B05", "3")]
    assert [code for code, _ in found(verify(zip_of(tmp_path / "b.zip", **{"a.json": text[:24]})))] == ["F04"]
    assert verify(zip_of(tmp_path / "c.zip", **{"a.json": b'{"x": NaN}', "._b.json": b"\0\5\x16\7"})).findings == ()


SEARCHAD = {
    "s/searchad_annotations_train.json": b'{"ACDC/a.png": [{"label": "Dog", "bbox": [1, 2, 30.5, 20]}]}',
    "s/searchad_annotations_val.json": b'{"ACDC/b.png": []}',
    "s/searchad_test_mapping_id_to_imagepath.json": b'{"0": "ACDC/c.png"}',
}


@pytest.mark.parametrize(
    ("split", "data", "code", "place"),
    [
        ("val", b'{"ACDC/b.png": [{"label": "Dog", "bbox": [9, 2, 3, 5]}]}', "B02", "val.json, ACDC/b.png[0]"),
        ("val", b'{"ACDC/a.png": []}', "Q03", "val.json, ACDC/a.png"),
        ("val", b'{"../b.png": []}', "P01", "val.json, ../b.png"),
        ("val", b"[", "F04", "val.json, line 1, column 2"),
        ("val", b"{}", None, ""),
        ("train", b'{"ACDC/a.png": {}}', "S01", "train.json, ACDC/a.png"),
    ],
)
def test_searchad_within_is_looked_at_as_a_whole(
    tmp_path: Path, split: str, data: bytes, code: str | None, place: str
) -> None:
    """As the folder that it would be: an image of two splits is seen only where both files are read."""
    assert verify(zip_of(tmp_path / "a.zip", **SEARCHAD)).findings == ()
    held = SEARCHAD | {f"s/searchad_annotations_{split}.json": data}
    elsewhere = {name.replace("s/", "t/"): data for name, data in SEARCHAD.items()}  # another one, and no twin
    zipped = zip_of(tmp_path / "b.zip", **held, **elsewhere)
    tarred = tar_of(tmp_path / "b.tgz", *((tarfile.TarInfo(name), text) for name, text in held.items()))
    for path in (zipped, tarred):
        report = verify(path)
        assert [one.code for one in report.findings] == ([code] if code else [])
        assert [one.where for one in report.findings] == ([f"{path}, s/searchad_annotations_{place}"] if code else [])
        assert "fd/" not in str(report)
    assert "Q03" in report.checked


def test_pictures_within(tmp_path: Path) -> None:
    assert found(verify(zip_of(tmp_path / "a.zip", **{"a.png": PNG[:-30]}))) == [("I04", "a.png")]
    assert found(verify(zip_of(tmp_path / "b.zip", **{"a.png": b""}))) == [("I07", "a.png")]
    damaged = bytearray(PNG)
    damaged[PNG.index(b"IDAT") + 20] ^= 255
    path = zip_of(tmp_path / "c.zip", **{"a.png": bytes(damaged)})
    assert found(verify(path)) == []
    assert found(verify(path, level="deep")) == [("I04", "a.png")]


def test_sound_voc_with_its_pictures(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", **{"Annotations/a.xml": VOC.format(9).encode(), "JPEGImages/a.png": PNG})
    assert verify(path, level="deep").findings == ()


def test_what_is_not_looked_into_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def left(**members: bytes) -> str:
        (one,) = verify(zip_of(tmp_path / "a.zip", **members)).findings
        assert (one.code, one.severity) == ("F09", "warning")
        return one.message.partition(";")[0]

    assert left(**{"in/dataset.json": b'{"tables": {"images": {}}}'}).endswith("into: in/dataset.json")
    assert left(**{"SHA256SUMS": b"", "model.pt": b"x"}) == "2 members were not looked into: SHA256SUMS, model.pt"
    monkeypatch.setattr("curate.verify.archives._INSIDE_MEMBERS", 1)
    assert left(**{"a.xml": VOC.format(9).encode(), "b.xml": VOC.format(90).encode()}).endswith("into: b.xml")
    monkeypatch.setattr("curate.verify.archives._INSIDE_BYTES", 10)
    assert left(**{"a.json": broken_coco()}).endswith("into: a.json")


def test_archives_without_members(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(bytes(10240))
    for path in (zip_of(tmp_path / "a.zip"), tmp_path / "a.tar"):
        report = verify(path)
        assert [(one.code, one.message) for one in report.findings] == [("X03", "holds no member; expected files")]

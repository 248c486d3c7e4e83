"""A mutation test over all rules: into something sound one fault is put, and exactly the rule it belongs to finds it.

There is a world for each kind of input, and at least one fault for every code that ``verify`` can find. Where a fault
is by its nature a second one too (a copy of a query's picture is also a picture twice), its row says so.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from PIL import Image as PilImage

from curate import store, torch_zip
from curate.codes import CODES
from curate.dataset import from_records
from curate.geometry import rle_from_counts
from curate.model import (
    Annotation,
    Command,
    Coverage,
    Image,
    Info,
    Instance,
    Judgement,
    Member,
    Query,
    Record,
    SourceRecord,
    Support,
    finding,
)
from curate.releasing import release
from curate.releasing.rebuilding import differences
from curate.verify import RULES, Report, folder, images, unreadable, verify
from curate.verify.rules import READING
from tests.verify import test_anns, test_label_studio, test_revisitop, test_voc
from tests.verify.conftest import sound_coco, sound_records

Json = Any
INFO = Info(name="toy", sources={"toy": SourceRecord(title="toy")})


# ------------------------------------------------------------------------------------------------------------- worlds


def of_text(place: Path, damage: Callable[[str], str | bytes]) -> Report:
    """A COCO file, as text."""
    data = damage(json.dumps(sound_coco()))
    (place / "x.json").write_bytes(data if isinstance(data, bytes) else data.encode())
    return verify(place / "x.json")


def of_coco(place: Path, damage: Callable[[Json], object]) -> Report:
    data = sound_coco()
    damage(data)
    (place / "x.json").write_text(json.dumps(data))
    return verify(place / "x.json")


def of_records(place: Path, damage: Callable[[list[Record]], list[Record] | None]) -> Report:
    """A dataset with queries, gallery and coverage."""
    records = sound_records()
    return verify(from_records(INFO, damage(records) or records))


def of_files(place: Path, damage: Callable[[Path], object]) -> Report:
    """A dataset with its pictures, of which every pixel is looked at; ``damage`` is told the folder."""
    root = place / "raw"
    root.mkdir()
    rng = np.random.default_rng(3)
    digests = {}
    for name in ("q1", "g1", "g2", "g3"):
        PilImage.fromarray(rng.integers(0, 255, (80, 100, 3), np.uint8)).save(root / f"{name}.png")
        digests[f"toy/{name}"] = hashlib.sha256((root / f"{name}.png").read_bytes()).hexdigest()
    hashed = damage.__name__ == "exchange"
    records = [
        msgspec.structs.replace(one, sha256=digests[one.id] if hashed else None, orientation=None)
        if isinstance(one, Image)
        else one
        for one in sound_records()
    ]
    damage(root)
    return verify(from_records(INFO, records), roots={"toy": root}, level="deep")


def of_folder(place: Path, damage: Callable[[Path], object]) -> Report:
    """A dataset folder."""
    path = place / "ds"
    store.write(from_records(INFO, sound_records()), path)
    damage(path)
    noticed = folder(path)
    if any(one.severity == "error" for one in noticed):
        return unreadable(str(path), noticed)
    return verify(store.read(path), noticed=noticed)


def of_anns(place: Path, damage: Callable[[Json], object]) -> Report:
    entries = test_anns.sound()
    damage(entries)
    with (place / "anns.pt").open("wb") as stream:
        torch_zip.save(entries, stream)
    return verify(place / "anns.pt")


def of_pickle(place: Path, damage: Callable[[Json], bytes]) -> Report:
    """An ``anns.pt`` of which the pickle itself is given."""
    with zipfile.ZipFile(place / "anns.pt", "w") as archive:
        archive.writestr("archive/data.pkl", damage(ast.literal_eval(repr(test_anns.sound()))))  # nothing shared
    return verify(place / "anns.pt")


def of_revisitop(place: Path, damage: Callable[[Json], object]) -> Report:
    data = test_revisitop.sound()
    damage(data)
    (place / "gnd_toy.pkl").write_bytes(pickle.dumps(data))
    return verify(place / "gnd_toy.pkl")


def of_tasks(place: Path, damage: Callable[[Json], object]) -> Report:
    data = test_label_studio.sound()
    damage(data)
    (place / "export.json").write_text(json.dumps(data))
    return verify(place / "export.json")


def of_voc(place: Path, damage: Callable[[Path], object]) -> Report:
    root = place / "V"
    for name in ("Annotations", "JPEGImages", "SegmentationClass"):
        (root / name).mkdir(parents=True)
    (root / "Annotations" / "a.xml").write_text(test_voc.SOUND)
    PilImage.new("RGB", (60, 40)).save(root / "JPEGImages" / "a.jpg")
    damage(root)
    return verify(root)


def of_pictures(place: Path, damage: Callable[[Path], object]) -> Report:
    for i, name in enumerate("ab"):
        PilImage.new("RGB", (40, 30), (i, i, i)).save(place / f"{name}.png")
    damage(place)
    return verify(place)


def of_archive(place: Path, damage: Callable[[dict[str, bytes]], list[tuple[str, bytes]] | None]) -> Report:
    members = {"in/a.bin": bytes(range(200)), "b.json": b"{}"}
    more = damage(members) or []
    with warnings.catch_warnings(), zipfile.ZipFile(place / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for name, data in [*members.items(), *more]:
            archive.writestr(name, data)
    return verify(place / "a.zip")


def of_tar(place: Path, damage: Callable[[tarfile.TarInfo], object]) -> Report:
    info = tarfile.TarInfo("in/a")
    info.size = 3
    damage(info)
    with tarfile.open(place / "a.tar.gz", "w:gz") as archive:
        archive.addfile(info, io.BytesIO(b"abc"))
    return verify(place / "a.tar.gz")


def of_release(place: Path, damage: Callable[[Path], object]) -> Report:
    path = place / "r"
    texts = {
        "README.md": "# toy\n\n3 images, 1,200 annotations.\n",
        "dataset/dataset.json": '{"tables": {"images": {"rows": 3}, "annotations": {"rows": 1200}},'
        ' "sources": {"toy": {"title": "toy", "licence": "CC0"}}}',
        "statistics.json": '{"counts": {"images": 3, "annotations": 1200}}',
    }
    (path / "dataset").mkdir(parents=True)
    for name, text in texts.items():
        (path / name).write_text(text)
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    (path / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    damage(path)
    return verify(path)


def of_built_release(place: Path, damage: Callable[[Path], object]) -> Report:
    owned = Info(name="toy", sources={"toy": SourceRecord(title="toy", licence="CC0")})
    release(from_records(owned, sound_records()), place / "r")
    damage(place / "r")
    return verify(place / "r", level="deep", rebuild=differences)


# ------------------------------------------------------------------------------------------------------------- faults


class Fault(NamedTuple):
    code: str
    world: Callable[[Path, Any], Report]
    damage: Callable[[Any], Any]
    also: str = ""  # codes of what it is besides


def old_new(old: str, new: str | bytes) -> Callable[[str], str | bytes]:
    def damage(text: str) -> str | bytes:
        assert old in text
        if isinstance(new, bytes):
            return text.encode().replace(old.encode(), new, 1)
        return text.replace(old, new, 1)

    return damage


def row(table: str, at: int, **changes: Any) -> Callable[[Json], object]:
    return lambda data: data[table][at].update(changes)


def boxes(*found: list[float]) -> Callable[[Json], object]:
    """Other boxes in the first image, apart from one another."""

    def damage(data: Json) -> None:
        data["annotations"] = [
            {"id": i, "image_id": 0, "category_id": 3 * (i % 2), "bbox": box} for i, box in enumerate(found)
        ]

    return damage


def mask(segmentation: Any, box: Any = None, **more: Any) -> Callable[[Json], object]:
    bbox = box or [10, 10, 20, 20]
    return row("annotations", 3, **{"segmentation": segmentation, "bbox": bbox, "area": bbox[2] * bbox[3], **more})


def put(kind: type[Any], id: str, **changes: Any) -> Callable[[list[Record]], list[Record]]:
    def damage(records: list[Record]) -> list[Record]:
        assert any(isinstance(one, kind) and one.id == id for one in records)
        return [
            msgspec.structs.replace(one, **changes) if isinstance(one, kind) and one.id == id else one  # type: ignore[type-var]
            for one in records
        ]

    return damage


def add(*more: Record) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [*records, *more]


def both(*damages: Callable[[list[Record]], list[Record]]) -> Callable[[list[Record]], list[Record]]:
    def damage(records: list[Record]) -> list[Record]:
        for one in damages:
            records = one(records)
        return records

    return damage


def exhaustive(records: list[Record]) -> list[Record]:
    return [msgspec.structs.replace(one, state="exhaustive") if isinstance(one, Coverage) else one for one in records]


def manifest(change: Callable[[Json], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = json.loads((path / "dataset.json").read_text())
        change(data)
        (path / "dataset.json").write_text(json.dumps(data))

    return damage


def of_xml(old: str, new: str) -> Callable[[Path], object]:
    assert old in test_voc.SOUND
    return lambda root: (root / "Annotations" / "a.xml").write_text(test_voc.SOUND.replace(old, new, 1))


def bomb(root: Path) -> None:
    """A header that claims 30,000 x 30,000 pixels, and its end."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    end = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + end
    (root / "g2.png").write_bytes(data)


def exchange(root: Path) -> None:
    """Another picture under the name; ``of_files`` gives hashes for this one."""
    PilImage.new("RGB", (100, 80), 9).save(root / "g2.png")


def turned(root: Path) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = 6
    PilImage.new("RGB", (100, 80), 9).save(root / "g2.png", exif=exif)


def leaves(root: Path) -> None:
    (root / "g2.png").rename(root.parent / "elsewhere.png")
    (root / "g2.png").symlink_to(root.parent / "elsewhere.png")


class Hostile:
    def __reduce__(self) -> Any:
        return print, ("ran",)


def young(records: list[Record]) -> list[Record]:
    dated = put(Instance, "set/1", exists_since="2020-01-01")(records)
    return put(Image, "toy/g3", taken_at="2021-05-05")(dated)


QUERY, _, GALLERY, _ = test_anns.sound()
COMPRESSED = rle_from_counts([1610, 20, 60, 20, 6290], 100, 80).counts
THING = {"image_id": "toy/g2", "category": "cup", "x": 60, "y": 50, "w": 9, "h": 9}
FAULTS = [
    Fault("F01", of_text, lambda text: ""),
    Fault("F03", of_text, old_new("drawn by hand", b"drawn \xe4 hand")),
    Fault("F04", of_text, lambda text: text[:-20]),
    Fault("F05", of_text, old_new('"drawn by hand"', "[" * 100 + "]" * 100)),
    Fault("F06", of_text, old_new('"width": 100', '"width": 100, "width": 100')),
    Fault("F07", of_text, old_new('"area": 4000', '"area": NaN')),
    Fault("F08", of_text, old_new('"area": 4000', f'"area": {10**30}')),
    Fault("F09", of_text, lambda text: "<!DOCTYPE html><html></html>"),
    Fault("F10", of_coco, row("images", 2, file_name="b/three\u202e.jpg")),
    Fault("S01", of_coco, lambda data: data["annotations"][0].pop("image_id")),
    Fault("S02", of_coco, row("images", 2, width="640")),
    Fault("S03", of_folder, manifest(lambda data: data.update(schema_version="9.0"))),
    Fault("S04", of_folder, manifest(lambda data: data.update(schema_version="0.9"))),
    Fault("S05", of_coco, row("images", 2, camera=3)),
    Fault("R01", of_coco, row("annotations", 3, id=0)),
    Fault("R02", of_coco, row("annotations", 3, image_id=99)),
    Fault("R03", of_records, add(Annotation(id="x", parent_id="no", **THING))),
    Fault("R04", of_coco, row("annotations", 3, id=1.5)),
    Fault("R05", of_coco, row("categories", 1, name=" CAR ")),
    Fault(
        "R06",
        of_records,
        add(Annotation(id="x", parent_id="y", **THING), Annotation(id="y", parent_id="x", **(THING | {"x": 2}))),
    ),
    Fault("R07", of_coco, row("images", 1, file_name="a//one.jpg")),
    Fault("R08", of_records, exhaustive),
    Fault("R09", of_records, add(Annotation(id="x", **THING), Annotation(id="y", **THING))),
    Fault("R10", of_coco, lambda data: data["categories"].append({"id": 9, "name": "cat"})),
    Fault("B01", of_coco, row("annotations", 0, bbox=[50, 0, 50])),
    Fault("B02", of_coco, row("annotations", 0, bbox=[50, 0, -50, 80])),
    Fault("B03", of_coco, row("annotations", 3, bbox=[5, 5, 0, 9], area=0)),
    Fault("B04", of_coco, row("annotations", 0, bbox=[70, 0, 50, 80])),
    Fault("B05", of_coco, row("annotations", 0, bbox=[170, 0, 50, 80])),
    Fault("B06", of_coco, boxes([50, 40, 90, 70], [55, 45, 95, 78], [60, 30, 99, 60], [45, 50, 80, 79])),
    Fault("B07", of_coco, boxes([80, 10, 21, 10], [70, 30, 31, 10], [60, 50, 41, 10], [75, 65, 26, 10])),
    Fault("B08", of_coco, row("annotations", 1, bbox=[20.5, 20.25, 30, 40])),
    Fault("B09", of_coco, row("annotations", 1, area=900)),
    Fault("B10", of_coco, row("annotations", 3, bbox=[5, 5, 90, 1], area=90)),
    Fault(
        "B11",
        lambda place, damage: verify(from_records(damage(INFO), sound_records())),
        lambda info: msgspec.structs.replace(info, command=Command(verb="build subset", options={"size": "<0.49"})),
    ),
    Fault("M01", of_coco, mask([[10, 10, 30, 10, 30]])),
    Fault("M02", of_coco, mask([[10, 10, 1e9, 10, 30, 30]])),
    Fault("M03", of_coco, mask([[4, 4, 24, 14, 24, 4, 4, 14]], [4, 4, 20, 10], area=0)),
    Fault("M04", of_coco, mask({"size": [80, 100], "counts": [7000]}), "M08"),
    Fault("M05", of_coco, mask({"size": [100, 80], "counts": [1610, 20, 6370]}, None), "B08 B09 M08"),
    Fault("M06", of_coco, mask({"size": [40_000, 40_000], "counts": [1_600_000_000]}), "M05 M08"),
    Fault("M07", of_coco, row("annotations", 0, iscrowd=2)),
    Fault("M08", of_coco, mask({"size": [80, 100], "counts": COMPRESSED}, [20, 10, 2, 20])),
    Fault("M09", of_coco, mask({"size": [80, 100], "counts": [8000]}), "B09"),
    Fault("M10", of_voc, lambda root: PilImage.new("RGB", (60, 40)).save(root / "SegmentationClass" / "a.png")),
    Fault("M11", of_tasks, lambda data: data[1]["annotations"][0]["result"][0]["value"]["rle"].pop(6)),
    Fault("I01", of_files, lambda root: (root / "g2.png").unlink()),
    Fault("I02", of_files, lambda root: PilImage.new("RGB", (101, 80)).save(root / "g2.png")),
    Fault("I03", of_files, bomb),
    Fault("I04", of_files, lambda root: (root / "g2.png").write_bytes((root / "g2.png").read_bytes()[:9000])),
    Fault("I05", of_files, lambda root: PilImage.new("RGB", (100, 80)).save(root / "g2.png", format="JPEG")),
    Fault("I06", of_files, turned),
    Fault("I07", of_files, lambda root: (root / "g2.png").write_text("<!DOCTYPE html>")),
    Fault("I08", of_pictures, lambda place: (place / "c.png").write_bytes((place / "a.png").read_bytes())),
    Fault("I09", of_files, exchange),
    Fault("P01", of_coco, row("images", 2, file_name="../three.jpg")),
    Fault("P02", of_coco, row("images", 2, file_name="http://example.org/three.jpg")),
    Fault("P03", of_files, leaves),
    Fault("P04", of_coco, row("images", 1, file_name="a/ONE.jpg")),
    Fault("Q01", of_records, add(Member(image_id="toy/q1", role="gallery"))),
    Fault("Q01", of_records, put(Image, "toy/g2", sha256="aa"), "R07"),
    Fault("Q02", of_records, add(Query(id="q2", kind="text", text="a saucer"))),
    Fault("Q03", of_records, both(put(Image, "toy/g1", sequence="s"), put(Image, "toy/g2", sequence="s", split="x"))),
    Fault(
        "Q04",
        lambda place, damage: verify(from_records(damage(INFO), sound_records())),
        lambda info: msgspec.structs.replace(
            info,
            command=Command(verb="import"),
            sources={"toy": msgspec.convert({"title": "toy", "found": {"images": 5}}, SourceRecord)},
        ),
    ),
    Fault(
        "Q05",
        of_records,
        add(
            Judgement(query_id="q1", image_id="toy/g1", label="positive", annotation_id="toy/g1#0"),
            Judgement(query_id="q1", image_id="toy/g1", label="junk"),
        ),
    ),
    Fault("Q06", of_records, young),
    Fault("Q07", of_records, add(Coverage(scope="toy/g2", category="plate", state="withheld"))),
    Fault("Q08", of_records, add(Support(query_id="q1", rank=0, image_id="toy/g2"))),
    Fault(
        "Q09",
        of_records,
        add(
            Judgement(query_id="q1", image_id="toy/g1", label="positive"),
            Judgement(query_id="q1", image_id="toy/g2", label="negative"),
        ),
    ),
    Fault("Q10", of_records, add(finding("Q10", "category cup", "implied"))),  # type: ignore[arg-type]
    Fault("Q11", of_records, add(finding("Q11", "category cup", "is not in val"))),  # type: ignore[arg-type]
    Fault("Q12", of_records, add(finding("Q12", "category cup", "has 1"))),  # type: ignore[arg-type]
    Fault("A01", of_pickle, lambda entries: pickle.dumps({**entries, "x": Hostile()})),
    Fault("A02", of_anns, lambda entries: entries[QUERY].pop("bbox"), "Q02"),
    Fault("A03", of_anns, lambda entries: entries[GALLERY].update(num_ins=[2])),
    Fault("A04", of_anns, lambda entries: entries[QUERY].update(bbox=[(5, 4, 8, 9), (1, 1, 2, 2)])),
    Fault("A05", of_anns, lambda entries: entries[QUERY].update(bbox=(8, 4, 5, 9))),
    Fault("A06", of_anns, lambda entries: entries[GALLERY].update(set="LMO"), "Q02"),
    Fault("A07", of_anns, lambda entries: entries.update({"/data/" + QUERY: entries.pop(QUERY)})),
    Fault("A08", of_pickle, lambda entries: pickle.dumps(entries | {QUERY: entries[QUERY] | {"ins": np.int64(1)}}, 2)),
    Fault(
        "A09",
        of_anns,
        lambda entries: entries[QUERY].update(mask={"counts": [192], "size": (12, 16)}, bbox=(0, 0, 16, 12)),
    ),
    Fault("L01", of_tasks, lambda data: data[1].update(id=1)),
    Fault("L02", of_tasks, lambda data: data[0]["annotations"][0].update(was_cancelled=True)),
    Fault("L03", of_tasks, lambda data: data[0]["annotations"][0]["result"][0].update(original_width=61)),
    Fault("L04", of_tasks, lambda data: data[0]["annotations"][0]["result"][0]["value"].update(x=80)),
    Fault("L05", of_tasks, lambda data: data[0]["annotations"][0]["result"][0]["value"].update(rotation=5)),
    Fault("L06", of_tasks, lambda data: data[0]["annotations"][0]["result"][0]["value"].update(rectanglelabels=[])),
    Fault("L07", of_tasks, lambda data: data[0]["annotations"][0].update(result=None)),
    Fault("L08", of_tasks, lambda data: data[0]["data"].update(by="ann@example.org")),
    Fault("L08", of_records, add(Annotation(id="x", origin="human:ann@example.org", **THING))),
    Fault("L09", of_tasks, lambda data: data[0]["annotations"][0].update(lead_time=-1)),
    Fault("V01", of_release, lambda path: (path / "statistics.json").write_text("{}")),
    Fault("V04", of_built_release, lambda path: relisted(path, "export/annotations.json", '{"images": []}')),
    Fault("V05", of_release, lambda path: relisted(path, "dataset/dataset.json", '{"sources": {"toy": {}}}')),
    Fault("V06", of_release, lambda path: relisted(path, "README.md", "3 images, 1,300 annotations.\n")),
    Fault("V06", of_release, lambda path: relisted(path, "statistics.json", '{"counts": {"images": 4}}')),
    Fault("V02", of_release, lambda path: (path / "SHA256SUMS").open("a").write("0123  x\n")),
    Fault("V03", of_release, lambda path: (path / "x.tmp").write_text("")),
    Fault("L08", of_release, lambda path: relisted(path, "README.md", "ask ann@example.org")),
    Fault("X01", of_archive, lambda members: [("../x", b"x")]),
    Fault("X01", of_tar, lambda info: (setattr(info, "type", tarfile.SYMTYPE), setattr(info, "linkname", "/etc/x"))),
    Fault("X02", of_archive, lambda members: [("zeros", bytes(30 << 20))]),
    Fault("X03", of_archive, lambda members: [("b.json", b"{}")]),
    Fault("P04", of_archive, lambda members: [("B.json", b"{}")]),
    Fault("S01", of_revisitop, lambda data: data["gnd"][0].pop("junk")),
    Fault("B02", of_voc, of_xml("<xmax>20<", "<xmax>5<")),
    Fault("F04", of_voc, of_xml("</annotation>", "")),
]


def relisted(path: Path, name: str, text: str) -> None:
    """Another text, and its hash in the list."""
    held = (path / "SHA256SUMS").read_text()
    (path / name).write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    lines = [f"{digest}  {name}" if line.endswith(f"  {name}") else line for line in held.splitlines()]
    (path / "SHA256SUMS").write_text("\n".join(lines) + "\n")


WORLDS = sorted({fault.world for fault in FAULTS if fault.world.__name__ != "<lambda>"}, key=lambda one: one.__name__)


@pytest.mark.parametrize("world", WORLDS, ids=lambda one: one.__name__)
def test_what_is_sound_gives_no_finding(tmp_path: Path, world: Callable[[Path, Any], Report]) -> None:
    nothing: dict[str, Callable[[Any], Any]] = {
        "of_text": lambda text: text,
        "of_pickle": pickle.dumps,
    }
    report = world(tmp_path, nothing.get(world.__name__, lambda given: None))
    assert report.findings == ()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.code} {fault.world.__name__}")
def test_one_fault_is_found_by_its_rule(tmp_path: Path, fault: Fault) -> None:
    report = fault.world(tmp_path, fault.damage)
    found = {one.code for one in report.findings}
    assert fault.code in found
    assert found - set(fault.also.split()) == {fault.code}, [one.message for one in report.findings]


def test_there_is_a_fault_for_every_rule() -> None:
    codes = {code for rule in RULES for code in rule.codes.split()} | set(images.CODES)
    codes |= {code for reading in READING.values() for code in reading.split()}
    # F02: a file of 4 GiB and more is made by test_text, as a hole.
    assert codes - {fault.code for fault in FAULTS} == {"F02"}
    assert {fault.code for fault in FAULTS} <= set(CODES)

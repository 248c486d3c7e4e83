"""The container of torch.save: torch reads what we write, we read what torch writes, and odd files are one error."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from curate import torch_zip
from curate.errors import SourceError

VALUE = {
    "a/b.png": {"bbox": (1, -2, 300, 2**40), "mask": [{"counts": [0, 5], "size": (5, 1)}, []], "ok": True, "no": None},
    "é.png": {"bbox": [(0.5, 1e300, 70_000, 10**30)], "mask": [], "name": "日本"},
    "": {},
}


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch_zip.save(value, stream)
    return stream.getvalue()


def put(folder: Path, content: bytes) -> Path:
    (folder / "x.pt").write_bytes(content)
    return folder / "x.pt"


def archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return stream.getvalue()


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert torch_zip.load(put(tmp_path, saved(VALUE))) == (VALUE, 0)


def test_torch_loads_it_with_weights_only(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    found = torch.load(put(tmp_path, saved(VALUE)), weights_only=True)
    assert found == VALUE
    assert repr(found) == repr(VALUE)  # types and order too


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saves_is_loaded(protocol: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(VALUE, tmp_path / "x.pt", pickle_protocol=protocol)
    found = torch_zip.load(tmp_path / "x.pt")
    assert found == (VALUE, 0)
    assert repr(found.value) == repr(VALUE)


def test_tensors_and_the_format_before_1_6_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.zeros(3)}, tmp_path / "x.pt")
    with pytest.raises(SourceError, match=r"asks for the global torch\._utils\._rebuild_tensor_v2 \(A01\)"):
        torch_zip.load(tmp_path / "x.pt")
    torch.save(VALUE, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(SourceError, match=r"x\.pt: is in torch's format before version 1\.6; expected .*; load it and"):
        torch_zip.load(tmp_path / "x.pt")


def test_bytes_depend_on_the_values_alone() -> None:
    shared, key = ["x"], "key"
    one = {key: shared.copy(), "other": {"".join(["k", "ey"]): shared.copy()}}
    other = {"".join(["ke", "y"]): ["".join("x")], "other": {"".join(["key"]): ["x"]}}
    assert saved(one) == saved(other)
    program = (
        "import sys; from curate import torch_zip;"
        "torch_zip.save({k: {'k': list(k), 'v': k} for k in sorted({'alpha', 'beta', 'gamma'})}, sys.stdout.buffer)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"},
            capture_output=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) > 100


def test_members_carry_no_time_and_are_stored() -> None:
    with zipfile.ZipFile(io.BytesIO(saved(VALUE))) as file:
        assert [member.filename for member in file.infolist()] == [
            "archive/data.pkl",
            "archive/byteorder",
            "archive/version",
        ]
        for member in file.infolist():
            assert member.date_time == (1980, 1, 1, 0, 0, 0)
            assert member.compress_type == zipfile.ZIP_STORED


PLAIN = pickle.dumps({"a": 1}, 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file is empty; expected a file of torch.save"),
        (b"just text\n", "is no zip archive; expected a file of torch.save"),
        (b'{"images": []}', "is no zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer; .*; fetch the real file"),
        (PLAIN, "is a bare pickle; .*; save it with torch.save"),
        (saved(VALUE)[:200], "zip archive is cut short; .*; make or download it again"),
        (saved(VALUE)[:-1], "zip archive is (damaged|cut short)"),
        (archive(), "zip archive with 0 members NAME/data.pkl; expected one"),
        (archive(("notes.txt", b"hello")), "zip archive with 0 members"),
        (archive(("data.pkl", PLAIN)), "zip archive with 0 members"),
        (archive(("a/data.pkl", PLAIN), ("b/data.pkl", PLAIN)), "zip archive with 2 members"),
        (archive(("a/data.pkl", PLAIN), compression=zipfile.ZIP_DEFLATED), "a/data.pkl is compressed; expected it sto"),
        (archive(("a/data.pkl", b"\0" * 10**6), compression=zipfile.ZIP_BZIP2), "a/data.pkl is compressed"),
        (archive(("a/data.pkl", b"")), "pickle is malformed or cut short"),
        (archive(("a/data.pkl", b"cos\nsystem\n(S'ls'\ntR.")), r"asks for the global os\.system \(A01\)"),
    ],
)
def test_other_files_are_refused_in_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"^{tmp_path}/x\.pt.*: {said}") as raised:
        torch_zip.load(put(tmp_path, content))
    assert len(raised.value.lines) == 1


def test_sizes_that_lie(tmp_path: Path) -> None:
    content = bytearray(archive(("a/data.pkl", PLAIN)))
    entry = content.index(b"PK\x01\x02")
    for field in (20, 24):  # compressed and real size in the directory
        content[entry + field : entry + field + 4] = struct.pack("<I", 2**31 - 1)
    with pytest.raises(SourceError, match=r"is damaged|is cut short|has \d+ bytes"):
        torch_zip.load(put(tmp_path, bytes(content)))
    content[entry + 20 : entry + 24] = struct.pack("<I", len(PLAIN))
    with pytest.raises(SourceError, match="is compressed"):
        torch_zip.load(put(tmp_path, bytes(content)))


def test_a_member_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_zip, "MAX_BYTES", 3)
    with pytest.raises(SourceError, match=rf"archive/data\.pkl has {len(PLAIN)} bytes; expected at most 3"):
        torch_zip.load(put(tmp_path, archive(("archive/data.pkl", PLAIN))))


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    content = bytearray(saved(VALUE))
    content[content.index(b"bbox")] ^= 1
    with pytest.raises(SourceError, match=r"zip archive is damaged .*CRC"):
        torch_zip.load(put(tmp_path, bytes(content)))


def test_an_encrypted_member(tmp_path: Path) -> None:
    content = bytearray(archive(("a/data.pkl", PLAIN)))
    for start in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
        content[start] |= 1
    with pytest.raises(SourceError, match="is encrypted"):
        torch_zip.load(put(tmp_path, bytes(content)))


def test_no_file_a_folder_or_a_pipe(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.pt: no such file; expected a file of torch\.save"):
        torch_zip.load(tmp_path / "nothing.pt")
    with pytest.raises(SourceError, match="is a folder; expected a file"):
        torch_zip.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="is not a regular file"):
        torch_zip.load(tmp_path / "pipe")
    with pytest.raises(SourceError, match="no such file"):
        torch_zip.load(put(tmp_path, b"x") / "below")


def test_upstream_s_own_files(shared: Path) -> None:
    """Against torch itself, which may run what is in them: they are ours to trust."""
    torch = pytest.importorskip("torch")
    for name, scalars in (("anns.pt", 124), ("faulty_anns.pt", 115)):
        path = shared / "golden/voxdet_soir" / name
        found = torch_zip.load(path)
        assert found.value == torch.load(path, weights_only=False)
        assert found.numpy_scalars == scalars

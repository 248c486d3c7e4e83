"""F: the file itself: what kind it is, and whether it is sound UTF-8; and hidden characters in names."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc

from curate.errors import SourceError
from curate.model import Finding, finding
from curate.regular import read_regular
from curate.verify.json_text import EXPECTED, decode, line_of, parse
from curate.verify.subject import Subject

MAX_BYTES = 4 << 30
FileKind = Literal["json", "anns_pt"]

_MAGIC = (
    (b"\x1f\x8b", "gzip data", "unpack it first"),
    (b"BZh", "bzip2 data", "unpack it first"),
    (b"\xfd7zXZ", "xz data", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd data", "unpack it first"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"PK\x05\x06", "an empty zip archive", "make or download it again"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the real file with 'git lfs pull'"),
    (b"<!doctype", "an HTML page", "download the file again: a login page was saved in its place"),
    (b"<html", "an HTML page", "download the file again: a login page was saved in its place"),
    (b"<?xml", "XML", ""),
    (b"par1", "a Parquet table", "name the dataset folder that it lies in"),
    (b"sqlite format 3", "an SQLite database", ""),
    (b"%pdf", "a PDF", ""),
    (b"<svg", "an SVG drawing", ""),
)
_PICTURES = ((b"\x89png", "a PNG picture", ""), (b"\xff\xd8\xff", "a JPEG picture", ""))


def recognise(path: Path) -> FileKind | Finding:
    """What kind of file ``path`` is, by its content; a finding if it is none that can be checked."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return finding("F09", path, f"is a folder without dataset.json; {EXPECTED}")
        if not stat.S_ISREG(status.st_mode):
            return finding("F01", path, "is not a regular file; expected a file or folder")
        if status.st_size == 0:
            return finding("F01", path, "file is empty (0 bytes)", hint="write or download it again")
        if status.st_size > MAX_BYTES:
            return finding("F02", path, f"is {status.st_size:,} bytes; expected at most {MAX_BYTES:,}")
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        return finding("F01", path, f"cannot be read: {os.strerror(error.errno or 0)}")
    if head.startswith(b"PK\x03\x04") and (b"data.pkl" in head or _is_torch_file(path)):
        return "anns_pt"
    if re.match(rb"\x80[\x02-\x05]", head):
        return "anns_pt"  # an older torch file, or a bare pickle
    other = other_kind(head, pictures=True)
    if other:
        return finding("F09", path, f"is {other[0]}; {EXPECTED}", hint=other[1])
    if not any(head):
        return finding("F09", path, f"is binary data ({head[:4].hex(' ')} ...); {EXPECTED}")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or max(head[::2].count(0), head[1::2].count(0)) > len(head) // 4:
        return finding("F03", f"{path}, byte 0", "is UTF-16 text; expected UTF-8", hint="save it again as UTF-8")
    if 0 in head:
        return finding("F09", path, f"is binary data ({head[:4].hex(' ')} ...); {EXPECTED}")
    return "json"


def other_kind(head: bytes, *, pictures: bool = False) -> tuple[str, str | None] | None:
    """What else a file is by its first bytes, with a hint; None if it is none of those known here.

    ``pictures`` says whether PNG and JPEG count as something else.
    """
    head = head.lstrip().lower()
    for start, what, hint in (*_MAGIC, *(_PICTURES if pictures else ())):
        if head.startswith(start.lower()):
            return what, hint or None
    return None


def _is_torch_file(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") or name == "data.pkl" for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def read(path: Path) -> tuple[bytes, list[Finding]]:
    """The bytes of a text file without a byte order mark, and what is wrong with them as UTF-8; empty if unusable."""
    try:
        data = read_regular(path)
    except SourceError as error:
        return b"", [finding("F01", path, f"{error.found}; {error.expected}")]
    except OSError as error:
        return b"", [finding("F01", path, f"cannot be read: {os.strerror(error.errno or 0)}")]
    found = []
    if data.startswith(b"\xef\xbb\xbf"):
        found.append(finding("F03", f"{path}, byte 0", "byte order mark; expected none", severity="info"))
        data = data[3:]
    if not data.strip():
        return b"", [*found, finding("F01", path, "holds nothing but spaces; expected JSON")]
    try:
        if not data.isascii():
            data.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{path}, byte {error.start}, {line_of(data, error.start)}"
        bad = data[error.start : error.start + 4].hex(" ")
        return b"", [*found, finding("F03", where, f"bytes {bad} are not UTF-8; expected UTF-8 text")]
    return data, found


def load(path: Path) -> tuple[dict[str, Any] | None, list[Finding]]:
    """Read and decode a small JSON file that holds an object; None where there is no going on."""
    kind = recognise(path)
    if isinstance(kind, Finding):
        return None, [kind]
    data, found = read(path)
    parts, more = parse(path, data) if data else (None, [])
    found += more
    if parts is None:
        return None, found
    value = {}
    for name, part in parts.items():
        value[name], more = decode(bytes(part), f"{path}, {name}", 1)
        found += more
    return value, found


# Control characters, bidirectional marks and characters without width. The joiners U+200C and U+200D belong to the
# spelling of some languages and are allowed.
_HIDDEN = (
    r"[\x{0000}-\x{001F}\x{007F}-\x{009F}\x{00AD}\x{061C}\x{200B}\x{200E}\x{200F}\x{2028}-\x{202E}"
    r"\x{2060}-\x{2064}\x{2066}-\x{206F}\x{FEFF}]"
)
_NAMES = (("images", "file_name"), ("categories", "name"), ("instances", "id"), ("queries", "id"))


def hidden_characters(subject: Subject) -> Iterator[Finding]:
    """F10: control, bidirectional or invisible characters in names."""
    for table, name in _NAMES:
        column = subject.column(table, name)
        if not _is_text(column) or column.null_count == len(column):
            continue
        hit = pc.fill_null(pc.match_substring_regex(column, _HIDDEN), False)
        for row in pc.indices_nonzero(hit).to_pylist():
            value = column[row].as_py()
            yield finding(
                "F10",
                subject.place(table, row, name),
                f"{name} {value!a} holds characters that cannot be seen; expected none",
                item=subject.item(table, row),
                severity="error" if "\0" in value else None,
            )


def _is_text(column: Any) -> bool:
    return str(column.type) in ("string", "large_string")

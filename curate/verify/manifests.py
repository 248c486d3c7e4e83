"""Release folders: every file is listed in ``SHA256SUMS`` and has not changed since, and no other is there."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.errors import SourceError
from curate.model import Finding, finding
from curate.regular import read_regular
from curate.verify.json_text import decode
from curate.verify.paths import path_fault
from curate.verify.picture_files import files_below, open_file
from curate.verify.report import encodable
from curate.verify.subject import Subject, short

SUMS = "SHA256SUMS"
MAX_BYTES = 1 << 30
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)", re.DOTALL)
_DATASET, _STATISTICS, _CARD = "dataset/dataset.json", "statistics.json", "README.md"
_COUNTED = re.compile(r"[\d,]{1,20} images(?:, [\d,]{1,20} \w{1,20})*\.")
_LEFT_OVER = re.compile(r"(?:^|/)(?:\..*(?:partial|\.tmp).*|[^/]*\.(?:tmp|part|partial|lock|swp)|[^/]*~)$")


# Files of a release: a folder with two of them is one, also where its list was lost.
_MARKS = (_DATASET, _STATISTICS, "lineage.json", "LICENCES.md", "images.csv")


def is_release(folder: Path) -> bool:
    return os.path.lexists(folder / SUMS) or sum((folder / name).is_file() for name in _MARKS) > 1


def load(path: Path) -> tuple[Subject | None, list[Finding]]:
    """Read ``SHA256SUMS``: digests by name under ``memo["sums"]``; V02."""
    file = path / SUMS
    if not os.path.lexists(file):
        held = ", ".join(name for name in _MARKS if (path / name).is_file())
        text = f"has {held} of a release but no {SUMS}; expected the list of its files"
        return None, [finding("V02", encodable(str(path)), text, hint="fetch or make the release again")]
    try:
        if file.stat().st_size > MAX_BYTES:
            return None, [finding("F02", file, f"is larger than {MAX_BYTES:,} bytes")]
        text = read_regular(file).decode("utf-8")
    except SourceError as error:
        return None, [finding("F01", file, f"{error.found}; {error.expected}")]
    except OSError as error:
        return None, [finding("F01", file, f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError as error:
        return None, [finding("F03", f"{file}, byte {error.start}", "is not UTF-8")]
    found, sums = [], {}
    for number, line in enumerate(text.splitlines(), 1):
        where, match = f"{file}:{number}", _LINE.fullmatch(line)
        if match is None:
            found.append(finding("V02", where, f"is {short(line)}; expected 64 hexadecimal digits, two spaces, a name"))
        elif fault := path_fault(match[2]):
            found.append(finding("V02", where, f"name {short(match[2])} {fault}"))
        elif match[2] in sums or match[2] == SUMS:
            found.append(finding("V02", where, f"{short(match[2])} stands twice or names this list itself"))
        else:
            sums[match[2]] = match[1]
    if not sums:
        found.append(finding("V02", file, "lists no file; expected all of the release"))
    subject = Subject("release", {}, lambda table, row, field: str(path))
    subject.memo |= {"sums": sums, "path": path}
    return subject, found


def counts(subject: Subject) -> dict[str, int]:
    return {"files": len(subject.memo["sums"])}


def unchanged(subject: Subject) -> Iterator[Finding]:
    """V01: files that are missing or of another content than listed."""
    path: Path = subject.memo["path"]
    top = path.resolve()
    for name, digest in subject.memo["sums"].items():
        file, where = path / name, encodable(f"{path}/{name}")
        try:
            if not file.resolve().is_relative_to(top):
                yield finding("P03", where, "is a link that leaves the release; expected a file", item=name)
                continue
            if not file.is_file():
                yield finding("V01", where, "is missing; expected a file, as listed", item=name)
                continue
            with open_file(file) as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except (OSError, RuntimeError) as error:
            yield finding("V01", where, f"cannot be read ({error})", item=name)
            continue
        if found != digest:
            text = f"has SHA-256 {found[:12]}...; expected {digest[:12]}... as listed"
            yield finding("V01", where, text, item=name, hint="the file was changed after the release was made")


def unlisted(subject: Subject) -> Iterator[Finding]:
    """V01 for files that are not listed; V03 for what was left over by a command that was killed."""
    path: Path = subject.memo["path"]
    for name in files_below(path):
        if name in subject.memo["sums"] or name == SUMS:
            continue
        where = encodable(f"{path}/{name}")
        if _LEFT_OVER.search(name):
            yield finding("V03", where, "is a left-over of a command; expected none", item=encodable(name))
        else:
            yield finding("V01", where, "is not listed; expected only what the release holds", item=encodable(name))


def rebuilt(subject: Subject) -> Iterator[Finding]:
    """V04: what the caller finds by building the release again (``verify``'s ``rebuild``)."""
    yield from subject.memo["rebuild"](subject.memo["path"]) if subject.memo.get("rebuild") else ()


def licences(subject: Subject) -> Iterator[Finding]:
    """V05: sources of the released dataset without a licence."""
    path, about = subject.memo["path"], _about(subject, _DATASET)
    sources = about.get("sources")
    for name, record in sorted(sources.items()) if isinstance(sources, dict) else ():
        if not (isinstance(record, dict) and isinstance(record.get("licence"), str) and record["licence"].strip()):
            text = "has no licence; expected what its owner states"
            yield finding("V05", encodable(f"{path}/{_DATASET}, sources.{name}"), text, item=encodable(name))


def stated_counts(subject: Subject) -> Iterator[Finding]:
    """V06: rows that ``statistics.json`` and the card state, against those of the tables."""
    path: Path = subject.memo["path"]
    tables = _about(subject, _DATASET).get("tables")
    if not isinstance(tables, dict):
        return
    rows = {name: one.get("rows") for name, one in tables.items() if isinstance(one, dict)}
    counts = _about(subject, _STATISTICS).get("counts")
    for name, stated in sorted(counts.items()) if isinstance(counts, dict) else ():
        if stated != rows.get(name, 0):
            text = f"counts {short(stated)} {name}; expected {short(rows.get(name, 0))} as in the tables"
            yield finding("V06", encodable(f"{path}/{_STATISTICS}, counts.{name}"), text, item=encodable(name))
    try:
        line = next((line for line in _text(path / _CARD).splitlines() if _COUNTED.fullmatch(line)), "")
    except OSError:
        return  # V01 says so
    for number, name in re.findall(r"(\d[\d,]*) ([a-z_]+)", line):
        if name in rows and int(number.replace(",", "")) != rows[name]:
            text = f"states {number} {name}; expected {short(rows[name])} as in the tables"
            yield finding("V06", encodable(f"{path}/{_CARD}"), text, item=name)


def _about(subject: Subject, name: str) -> dict[str, Any]:
    """A JSON object of the release; empty where it is not there, or is something else: V01 and F04 say so."""
    try:
        value, _ = decode(_text(subject.memo["path"] / name).encode(), name)
    except OSError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(file: Path) -> str:
    with open_file(file) as stream:
        return stream.read(MAX_BYTES).decode("utf-8", "replace")

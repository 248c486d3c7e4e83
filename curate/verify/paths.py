"""P: names of image files: where they lead, and whether other systems can hold them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from curate.codes import Severity
from curate.model import Finding, finding
from curate.verify.subject import Subject, short

MAX_PART = 255  # bytes of a part of a path
_ADDRESS = re.compile(r"(?:[a-zA-Z][a-zA-Z0-9+.-]{1,20}:/|data:|file:)")
_DRIVE = re.compile(r"[a-zA-Z]:(?:[\\/]|$)")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
# Names without any of these are in order; only the others are looked at one by one.
_SUSPECT = r"^$|^/|:|\\|(?:^|/)\.\.(?:/|$)|%|[^/]{64}"
_UNPORTABLE = r"(?i)(?:^|/)(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|/|$)|[. ](?:/|$)|\n|\r"


def _suspects(subject: Subject, pattern: str) -> Iterator[tuple[int, str]]:
    names = subject.column("images", "file_name")
    hit = pc.fill_null(pc.match_substring_regex(names, pattern), False)
    for row in pc.indices_nonzero(hit).to_pylist():
        yield row, names[row].as_py()


def suspects(names: pa.ChunkedArray) -> set[int]:
    """Rows of names that may lead elsewhere, or be no name at all; of all others it is certain that they do not."""
    return set(pc.indices_nonzero(pc.fill_null(pc.match_substring_regex(names, _SUSPECT), False)).to_pylist())


def _found(
    subject: Subject, code: str, row: int, message: str, severity: Severity | None = None, hint: str | None = None
) -> Finding:
    place = subject.place("images", row, "file_name")
    return finding(code, place, message, item=subject.item("images", row), severity=severity, hint=hint)


def malformed(subject: Subject) -> Iterator[Finding]:
    """P01: absolute, with a drive letter, leading out of the root, empty, or too long; a backslash is a warning."""
    absolute_is_a07 = subject.kind == "anns_pt"
    for row, name in _suspects(subject, _SUSPECT):
        if is_address(name):
            continue
        fault = path_fault(name)
        if fault and not (absolute_is_a07 and fault.startswith("is absolute")):
            yield _found(subject, "P01", row, f"file_name {short(name)} {fault}")
        elif not fault and "\\" in name:
            hint = "write forward slashes"
            yield _found(subject, "P01", row, f"file_name {short(name)} holds a backslash", "warning", hint)


def path_fault(name: str) -> str | None:
    """What is wrong with a path that should lie below a root, or None."""
    if not name:
        return "is empty; expected a path"
    if name.startswith(("/", "\\\\")) or _DRIVE.match(name):
        return "is absolute; expected a path below the root"
    for shown, text in (("", name), (" once %-escapes are read", unquote(name))):
        depth = 0
        for part in re.split(r"[/\\]", text):
            depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
            if depth < 0:
                return f"leads out of its root{shown}; expected a path below it"
        if text is not name and (text.startswith("/") or _DRIVE.match(text)):
            return f"is absolute{shown}; expected a path below the root"
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in name.split("/"))
    if longest > MAX_PART:
        return f"has a part of {longest} bytes; expected at most {MAX_PART}"
    return None


def is_address(name: str) -> bool:
    """Whether a name is a URL or the like instead of a path."""
    return _ADDRESS.match(name) is not None


def addresses(subject: Subject) -> Iterator[Finding]:
    """P02: an address on the network where a file belongs. Nothing is fetched, ever."""
    for row, name in _suspects(subject, ":"):
        if is_address(name):
            yield _found(subject, "P02", row, f"file_name {short(name)} is an address; expected a path below the root")


def links(subject: Subject) -> Iterator[Finding]:
    """P03: symbolic links that lead out of the root, or in a circle."""
    resolved: dict[Path, Path | None] = {}

    def folder_of(folder: Path) -> Path | None:
        if folder not in resolved:
            resolved[folder] = _resolved(folder)
        return resolved[folder]

    sound: dict[tuple[str, str], str] = {}  # folders that lie below their root, as they are called without links
    names = subject.column("images", "file_name")
    suspect = suspects(names)
    sources = subject.column("images", "source").to_pylist()
    for row, name in enumerate(names.to_pylist()):
        root = subject.roots.get(sources[row])
        if root is None or not name or (row in suspect and (path_fault(name) or is_address(name))):
            continue
        folder, _, last = str(name).rpartition("/")
        known = sound.get((sources[row], folder))
        if known is not None and not os.path.islink(f"{known}/{last}"):  # noqa: PTH114 - of many thousand files
            continue
        below, top = folder_of(root / folder), folder_of(root)
        if below is None or top is None:
            yield _found(subject, "P03", row, f"{root / folder} is a circle of links; expected a folder")
            continue
        if below.is_relative_to(top):
            sound[sources[row], folder] = str(below)
        target = below / last
        try:
            if target.is_symlink():
                target = target.resolve(strict=True)
        except FileNotFoundError:
            target = (below / target.readlink()).resolve()
        except (OSError, RuntimeError):
            yield _found(subject, "P03", row, f"{root / name} is a circle of links; expected a file")
            continue
        if not target.is_relative_to(top):
            yield _found(subject, "P03", row, f"{root / name} leads to {target}; expected a file below {top}")


def _resolved(folder: Path) -> Path | None:
    """``folder`` without links; None for a circle of links."""
    try:
        return folder.resolve(strict=True)
    except FileNotFoundError:
        return folder.resolve()
    except (OSError, RuntimeError):
        return None


def unportable(subject: Subject) -> Iterator[Finding]:
    """P04: names that collide, or cannot be, on other systems."""
    for row, name in _suspects(subject, _UNPORTABLE):
        if "\n" in name or "\r" in name:
            what = "holds a line break"
        elif any(_RESERVED.fullmatch(part) for part in name.split("/")):
            what = "has a part that Windows reserves"
        elif any(part not in (".", "..") and part.endswith((".", " ")) for part in name.split("/")):
            what = "has a part that ends with a dot or space"
        else:
            continue
        yield _found(subject, "P04", row, f"file_name {short(name)} {what}")
    yield from _collisions(subject)


def _collisions(subject: Subject) -> Iterator[Finding]:
    """Names that differ, but only in case or Unicode form."""
    seen: dict[tuple[str, str], str] = {}
    sources = subject.column("images", "source").to_pylist()
    for row, name in enumerate(subject.column("images", "file_name").to_pylist()):
        if not name:
            continue
        folded = name.casefold() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
        earlier = seen.setdefault((sources[row], folded), name)
        if earlier != name:
            text = f"file_name {name!a} and {earlier!a} are one name on systems that ignore case or Unicode form"
            yield _found(subject, "P04", row, text)

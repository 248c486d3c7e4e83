"""What kind of thing a path is, by its content, and who reads it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from curate.model import Finding, finding
from curate.verify import (
    anns,
    archives,
    coco,
    contents,
    label_studio,
    manifests,
    picture_files,
    revisitop,
    searchad,
    text,
    voc,
)
from curate.verify.subject import Kind, Subject

Read = tuple[Subject | None, list[Finding]]
_HEAD = 1 << 16


class _Reader(NamedTuple):
    load: Callable[[Path], Read]
    counts: Callable[[Subject], dict[str, int]] = Subject.counts


_READERS: dict[Kind, _Reader] = {
    "archive": _Reader(archives.load, archives.counts),
    "label_studio": _Reader(label_studio.load, label_studio.counts),
    "pictures": _Reader(picture_files.load),
    "release": _Reader(manifests.load, manifests.counts),
    "revisitop": _Reader(revisitop.load, revisitop.counts),
    "searchad": _Reader(searchad.load),
    "voc": _Reader(voc.load),
}


def recognise(path: Path) -> Kind | Finding:
    """The kind of what is at ``path``; a finding if it is nothing that can be checked."""
    try:
        mode = path.stat().st_mode
        head = _head(path) if stat.S_ISREG(mode) else b""
    except OSError:
        return _of_file(text.recognise(path))
    if stat.S_ISDIR(mode):
        return _of_folder(path)
    kind = text.recognise(path)
    if kind == "anns_pt":
        return "anns_pt" if head.startswith(b"PK") or b"torch" in head or b"\x8a\nl\xfc\x9c" in head else "revisitop"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<?xml", b"<annotation")):
        return "voc"
    if kind == "json":
        return "label_studio" if label_studio.looks_like(head) else "coco"
    if head and path.suffix.lower() in picture_files.SUFFIXES:
        return "pictures"  # also one that holds something else: I07 says what
    if isinstance(kind, Finding) and kind.code == "F09" and archives.is_archive(path):
        return "archive"
    return _of_file(kind)


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_HEAD)


def _of_file(kind: text.FileKind | Finding) -> Kind | Finding:
    return "coco" if kind == "json" else kind


def _of_folder(path: Path) -> Kind | Finding:
    if manifests.is_release(path):
        return "release"
    try:
        os.scandir(path).close()
        held = contents.survey(path)
        whole: tuple[Kind | None, ...] = (
            "searchad" if searchad.is_folder(path) else None,
            "voc" if voc.is_folder(path) else None,
        )
    except OSError as error:
        return finding("F01", path, f"cannot be read: {error.strerror}")
    kinds = list(held.kinds)
    below = any("/" in name for name in held.kinds.get("searchad", ()))  # where its files are not read
    if len(kinds) == 1 and kinds[0] in whole and not below:
        return kinds[0]
    if kinds:
        return contents.several(path, held)
    return "pictures" if held.pictures else contents.nothing(path)


def read(path: Path, roots: Mapping[str, Path]) -> tuple[Kind, Subject | None, list[Finding]]:
    """What is at ``path`` as a subject, None where there is no going on; and what was found while it was read."""
    kind = recognise(path)
    if isinstance(kind, Finding):
        return "unknown", None, [kind]
    if kind == "coco":
        return kind, *coco.load(path, roots)
    if kind == "anns_pt":
        return kind, *anns.load(path, roots)
    subject, found = _READERS[kind].load(path)
    if kind in ("pictures", "searchad", "voc") and path.is_dir():
        found += contents.passed_over(path, kind)
    if subject is not None:
        subject.add_roots(roots)
    return kind, subject, found


def counts(subject: Subject) -> dict[str, int]:
    """How much there is, for the report."""
    if subject.kind == "anns_pt":
        return anns.counts(subject)
    reader = _READERS.get(subject.kind)
    return reader.counts(subject) if reader else subject.counts()

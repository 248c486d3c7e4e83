"""What a folder holds, told by names and the beginnings of files: a report never passes over labels in silence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from curate.errors import SourceError
from curate.model import Finding, finding
from curate.regular import open_regular, read_regular
from curate.verify import manifests, searchad, searchad_lists, voc
from curate.verify.json_text import EXPECTED, decode, top_level
from curate.verify.label_studio import looks_like as looks_like_tasks
from curate.verify.picture_files import SUFFIXES
from curate.verify.report import encodable
from curate.verify.subject import Kind, short

MARK = "curate_export.json"  # of an export that is a folder
MANIFEST = "dataset.json"
# Files that may hold labels, by their endings.
LABELS = {".json", ".pt", ".pth", ".pkl", ".pickle", ".xml", ".zip", ".tar", ".tgz", ".gz"}
_TITLES: dict[Kind, str] = {
    "anns_pt": "an anns.pt",
    "coco": "COCO JSON",
    "dataset": "a dataset folder",
    "label_studio": "Label Studio's JSON",
    "release": "a release folder",
    "revisitop": "ground truth of revisitop",
    "searchad": "SearchAD",
    "voc": "VOC XML",
}
# What a folder of some kinds holds, and nothing else that is looked at.
_ALONE: dict[Kind, str] = {
    "pictures": "pictures alone",
    "searchad": "SearchAD's files and pictures",
    "voc": "XML files, ImageSets and pictures",
}
_LISTS = re.compile(r"(?:.*/)?ImageSets/.*\.txt")  # which images are of which set, in VOC's tree
_QUERIES = re.compile(rf"{searchad_lists.QUERIES}/[^/]+\.json")
_CONFIG = b"<View"  # the page of a project of Label Studio, which lies beside exported tasks
_HEAD = 1 << 16
_NAMED = 4


class Contents(NamedTuple):
    """Names of files, and of folders that are a thing of their own, by kind; pictures; and all other files."""

    kinds: dict[Kind, list[str]]
    pictures: list[str]
    others: list[str]


def kind_of(name: str, head: bytes) -> Kind | None:
    """The kind of a label file, by its name and its beginning; None if it looks like none."""
    name, suffix = PurePosixPath(name).name.lower(), PurePosixPath(name).suffix.lower()
    if name in searchad.NAMES:
        return "searchad"
    if suffix == ".json":
        if looks_like_tasks(head[:_HEAD]):
            return "label_studio"
        return "coco" if {"images", "annotations"} & {k for k, v in top_level(head).items() if v == "["} else None
    if suffix == ".xml":
        return "voc" if b"<annotation" in head else None
    if suffix in LABELS and name.startswith(("anns", "gnd_")):
        return "anns_pt" if name.startswith("anns") else "revisitop"
    return None


def survey(folder: Path) -> Contents:
    """What lies in a folder and below it, in the order of names; folders of a dataset or release are not entered."""
    found = Contents({}, [], [])
    whole_voc = voc.is_folder(folder)  # whose XML files are all looked at
    for top, folders, names in os.walk(folder):
        folders.sort()
        below = "" if Path(top) == folder else f"{os.path.relpath(top, folder)}/"
        own = {MANIFEST: "dataset", manifests.SUMS: "release"}
        kind: Any = next((own[name] for name in reversed(own) if name in names), None)
        if below and kind:
            found.kinds.setdefault(kind, []).append(below)
            folders.clear()
            continue
        for name in sorted(names):
            suffix = PurePosixPath(name).suffix.lower()
            if suffix in SUFFIXES:
                found.pictures.append(below + name)
                continue
            head = _head(Path(top, name)) if suffix in LABELS else b""
            of_voc = whole_voc and suffix == ".xml" and not head.lstrip().startswith(_CONFIG)
            kind = "voc" if of_voc else kind_of(name, head) if suffix in LABELS else None
            if kind:
                found.kinds.setdefault(kind, []).append(below + name)
            elif name != MARK:
                found.others.append(below + name)
    return found


def _head(path: Path) -> bytes:
    """The beginning of a file; empty where it cannot be read."""
    try:
        descriptor, _ = open_regular(path)
    except (OSError, SourceError):
        return b""
    try:
        return os.read(descriptor, _HEAD)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def several(folder: Path, held: Contents) -> Finding:
    """F09: a folder with labels that are not read as one thing: what it holds, and what to verify instead."""
    parts = []
    for kind, names in sorted(held.kinds.items()):
        listed = ", ".join(names[:_NAMED]) + (f", ... ({len(names):,})" if len(names) > _NAMED else "")
        parts.append(f"{listed} ({_TITLES[kind]})")
    if held.pictures:
        parts.append(f"{len(held.pictures):,} picture{'' if len(held.pictures) == 1 else 's'}")
    form = exported(folder)
    text = (f"is an export to {form} that holds " if form else "holds ") + "; ".join(parts)
    kind, first = next((kind, name) for kind, names in held.kinds.items() for name in names)
    if kind == "searchad" and "/" in first:
        first = str(PurePosixPath(first).parent)  # whose files belong together
    hint = f"verify each by itself, as 'curate verify {folder}/{first}'"
    return finding(
        "F09", encodable(str(folder)), encodable(f"{text}; expected things of one kind"), hint=encodable(hint)
    )


def nothing(folder: Path) -> Finding:
    """F09: a folder without anything that can be checked."""
    form = exported(folder)
    if form:
        text = f"is an export to {form}, which has no rules of its own; {EXPECTED}"
        return finding("F09", encodable(str(folder)), text, hint="verify the dataset that it was made from")
    return finding("F09", encodable(str(folder)), f"is a folder without {MANIFEST}; {EXPECTED}")


def exported(folder: Path) -> str | None:
    """The format that a folder is an export to, as its mark says; None if it has none."""
    try:
        value, _ = decode(read_regular(folder / MARK), MARK)
    except (OSError, SourceError):
        return None
    form = value.get("format") if isinstance(value, dict) else None
    return None if form is None else encodable(form if isinstance(form, str) and len(form) < 40 else short(form))


def _belongs(kind: Kind, name: str) -> bool:
    """Whether a file that is no label file of its own is one that a folder of its kind has."""
    if kind == "searchad":
        return bool(searchad_lists.LISTS.fullmatch(name) or _QUERIES.fullmatch(name))
    return kind == "voc" and _LISTS.match(name) is not None


def passed_over(folder: Path, kind: Kind) -> Iterator[Finding]:
    """F09 for files of a folder that are not looked at as its kind: a warning where they could hold labels."""
    names = [name for name in survey(folder).others if not _belongs(kind, name)]
    if not names:
        return
    names.sort(key=lambda name: PurePosixPath(name).suffix.lower() not in LABELS)
    doubtful = PurePosixPath(names[0]).suffix.lower() in LABELS
    listed = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    text = f"{len(names):,} other file{'' if len(names) == 1 else 's'} not looked at: {listed}; expected {_ALONE[kind]}"
    hint = "verify what holds labels by itself" if doubtful else None
    severity: Any = "warning" if doubtful else "info"
    yield finding("F09", encodable(str(folder)), encodable(text), severity=severity, hint=hint)

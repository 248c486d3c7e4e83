"""``anns.pt`` -> Dataset: the file is read whole, its entries become records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec
import numpy as np

from curate import runlengths, runorder, torch_zip
from curate.anns_pt.entries import Entry, Malformed, Object, Runs, read_entry
from curate.dataset import Dataset, from_records
from curate.engine import collector_paused
from curate.errors import SourceError
from curate.model import (
    Annotation,
    Category,
    Command,
    Counts,
    Coverage,
    Finding,
    Image,
    Info,
    Instance,
    Member,
    Query,
    Record,
    Rle,
    Source,
    SourceRecord,
    finding,
)
from curate.pictures import Header, read_header

SOURCE = Source(
    title="anns.pt of VoxDet-SoIR, or of the same form",
    homepage="https://github.com/pihash2k/VoxDet-SoIR",
    licence="not stated by the authors",
    citation="Green, Levy, Tzachor, Samuel, Darshan, Ben-Ari: Find your Needle: Small Object Image Retrieval via "
    "Multi-Object Attention Optimization. NeurIPS 2025",
    download="A file of yours, as create_dataset.py of VoxDet-SoIR or 'curate export anns_pt' writes it.",
    tree="FILE.pt, and the folder that its keys are relative to, given by --root anns_pt=FOLDER (without it no image "
    "is opened)",
    splits=(),
)
_KNOWN_SETS = ("OWID", "RoboTools")


class _Named(NamedTuple):
    """An entry with the id of its image."""

    key: str
    id: str
    entry: Entry


def read(file: Path | str, *, root: Path | None = None, skip_bad: bool = False, checksums: bool = False) -> Dataset:
    """Read the file ``file``.

    Args:
        root: folder that the keys are relative to; without it no image is opened.
        skip_bad: leave malformed entries and unreadable images out, and record them.
        checksums: also store the SHA-256 of every image file (needs ``root``).

    Raises:
        SourceError: the file is missing, holds anything but plain values, is no ``anns.pt``, or has malformed entries
            (all are listed).
    """
    with collector_paused():
        return _read(Path(file), root, skip_bad, checksums)


def _read(file: Path, root: Path | None, skip_bad: bool, checksums: bool) -> Dataset:
    value, numpy_scalars = torch_zip.load(file)
    if type(value) is not dict or not any(type(v) is dict and "bbox" in v for v in value.values()):
        raise SourceError(
            file,
            "holds no entry of anns.pt",
            "expected a dictionary from image path to bbox, is_query, ins and set",
        )
    broken: list[tuple[str, SourceError]] = []
    noticed: list[Finding] = list(_about_the_file(file, value, numpy_scalars))
    entries = list(_entries(file, value, broken))
    held: list[tuple[_Named, Image]] = []
    for named in entries:
        try:
            held.append((named, _image(file, named, root, checksums, noticed)))
        except SourceError as error:
            broken.append((named.id, error))
    if broken and not skip_bad:
        raise SourceError(
            file,
            f"{len(broken)} of {len(value)} entries are broken",
            "nothing was written",
            "mend them, or leave them out with --skip-bad",
            also=[error for _, error in sorted(broken, key=lambda pair: pair[0])],
        )
    noticed += [
        finding("N03", error.where, f"{error.found}; {error.expected}", item=id, hint=error.hint or None)
        for id, error in broken
    ]
    records = list(_records(file, held, noticed))
    info = Info(
        name=file.stem,
        sources={"anns_pt": _source(len(held), sum(type(record) is Annotation for record in records))},
        roots={"anns_pt": str(root)} if root is not None else {},
        command=Command(verb="import", options={"source": "anns_pt"}),
    )
    noticed.sort(key=lambda f: (f.code, f.item or "", f.where, f.message))
    return from_records(info, [*records, *noticed])


def _source(images: int, annotations: int) -> SourceRecord:
    return SourceRecord(
        title=SOURCE.title,
        licence=SOURCE.licence,
        citation=SOURCE.citation,
        homepage=SOURCE.homepage,
        found=Counts(images=images, annotations=annotations),
    )


def _about_the_file(file: Path, value: dict[Any, Any], numpy_scalars: int) -> Iterator[Finding]:
    if numpy_scalars:
        message = f"{numpy_scalars} numbers are numpy scalars: torch loads the file only with weights_only=False"
        yield finding("A08", file, message, hint="'curate export anns_pt' writes plain numbers")
    lacking = sum(type(entry) is dict and "is_val" not in entry for entry in value.values())
    if lacking:
        yield finding("N05", file, f"entries without 'is_val': {lacking}; which of OWID's splits they are is not known")


def _entries(file: Path, value: dict[Any, Any], broken: list[tuple[str, SourceError]]) -> Iterator[_Named]:
    """The entries in the order of their keys; malformed ones go to ``broken``."""
    taken: set[str] = set()
    for key, held in sorted(value.items(), key=lambda pair: (str(type(pair[0])), pair[0])):
        where, id = f"{file}, {key!r}" if type(key) is not str else f"{file}, {key}", ""
        try:
            id = _image_id(key)
            if id in taken:
                raise Malformed("key stands twice but for a leading slash (A02)", "expected one entry per image")
            taken.add(id)
            yield _Named(key, id, read_entry(held))
        except Malformed as error:
            broken.append((id, SourceError(where, *error.args)))


def _image_id(key: Any) -> str:
    if type(key) is not str or not key.strip("/"):
        raise Malformed("key is no path (A02)", "expected the path of an image")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise Malformed("key is no valid text (A02)", "expected the path of an image") from None
    return f"anns_pt/{key.lstrip('/')}"


def _image(file: Path, named: _Named, root: Path | None, checksums: bool, noticed: list[Finding]) -> Image:
    """The image of an entry.

    Raises:
        SourceError: its file is there and cannot be read.
    """
    key, entry = named.key, named.entry
    where = f"{file}, {key}"
    relative = key.lstrip("/")
    kept: dict[str, Any] = {"set": entry.set, **_other_fields(entry, named.id, where, noticed)}
    if key != relative:
        kept["key"] = key
        noticed.append(finding("A07", where, "key is absolute; taken as relative", item=named.id))
    if entry.set not in _KNOWN_SETS:
        noticed.append(finding("A06", where, f"set is {entry.set!r}; kept as found", item=named.id))
    header, digest = None, None
    if ".." in PurePosixPath(relative).parts:
        noticed.append(finding("P01", where, "key leads out of its folder; the image is not opened", item=named.id))
    elif root is not None:
        header, digest = _look(root / relative, checksums)
        if header is None:
            kept["file"] = "missing"
            noticed.append(finding("I01", where, f"{root / relative} is not on disk; image kept", item=named.id))
    sizes = {(m.width, m.height) for o in entry.objects if isinstance(m := o.mask, Runs)}
    sizes |= {(m.size[1], m.size[0]) for o in entry.objects if isinstance(m := o.mask, Rle)}
    stated = {(header.width, header.height)} if header else sizes
    if len(stated | sizes) > 1:
        shown = ", ".join(f"{w} x {h}" for w, h in sorted(stated | sizes))
        noticed.append(finding("M05", where, f"masks and picture differ in size: {shown}", item=named.id))
    width, height = next(iter(stated)) if len(stated) == 1 else (None, None)
    return Image(
        id=named.id,
        source="anns_pt",
        source_split=_split(entry),
        file_name=relative,
        width=width,
        height=height,
        orientation=header.orientation if header else None,
        sha256=digest,
        attributes={"anns_pt": kept},
    )


def _other_fields(entry: Entry, id: str, where: str, noticed: list[Finding]) -> dict[str, Any]:
    """Fields that the format does not know, as far as JSON can hold them."""
    kept = {}
    for name, value in entry.other.items():
        try:
            kept[name] = msgspec.json.decode(msgspec.json.encode(value))
        except (TypeError, ValueError, msgspec.MsgspecError):
            noticed.append(finding("N05", where, f"field {name!r} is no plain value; left out", item=id))
    return {str(name): value for name, value in kept.items()}


def _look(path: Path, checksums: bool) -> tuple[Header | None, str | None]:
    """The header of a picture, and its digest if wanted; nothing where there is no such file."""
    try:
        header = read_header(path)
    except SourceError:
        if path.is_symlink() or path.exists():
            raise
        return None, None
    if not checksums:
        return header, None
    with path.open("rb") as stream:
        return header, hashlib.file_digest(stream, "sha256").hexdigest()


def _split(entry: Entry) -> str | None:
    if entry.set == "RoboTools":
        return "test"
    if entry.is_query or entry.is_val is None:
        return None
    return "val" if entry.is_val else "train" if entry.set == "OWID" else None


def _records(file: Path, held: list[tuple[_Named, Image]], noticed: list[Finding]) -> Iterator[Record]:
    objects = [(named, number, one) for named, _ in held for number, one in enumerate(named.entry.objects)]
    masks = _compressed([one.mask for _, _, one in objects])
    supercategory = {one.instance: named.entry.set for named, _, one in objects}
    for instance, of in sorted(supercategory.items()):
        yield Category(name=instance, supercategory=of)
        yield Instance(id=instance, category=instance)
    splits = {image.source_split for named, image in held if named.entry.set in _KNOWN_SETS and image.source_split}
    for split in sorted(splits):
        yield Coverage(scope=f"anns_pt/{split}", category="*", state="partial" if split == "val" else "exhaustive")
    for named, image in held:
        yield image
        yield Member(image_id=named.id, role="query" if named.entry.is_query else "gallery")
    for (named, number, one), mask in zip(objects, masks, strict=True):
        row = _annotation(named.id, number, one, mask)
        yield row
        if one.wrong:
            message = f"{one.wrong[4:]}; kept beside the columns"
            noticed.append(finding(one.wrong[:3], f"{file}, {named.key}", message, item=row.id))
        if named.entry.is_query:
            yield _query(row)
            if one.box is None:
                message = "mask is empty and the box is the whole frame: the query has no box"
                noticed.append(finding("A09", f"{file}, {named.key}", message, item=named.id))


def _annotation(image_id: str, number: int, one: Object, mask: Rle | None) -> Annotation:
    x, y, w, h = one.box or (None, None, None, None)
    area = None if w is None or h is None else float(w * h)
    if isinstance(one.mask, Runs):
        area = float(sum(one.mask.counts[1::2]))
    return Annotation(
        id=f"{image_id}#{number:04d}",
        image_id=image_id,
        category=one.instance,
        source_label=one.instance,
        instance=one.instance,
        x=x,
        y=y,
        w=w,
        h=h,
        area=area,
        segmentation=mask,
        polygons=one.mask if isinstance(one.mask, list) else None,
        attributes={"anns_pt": one.kept} if one.kept else None,
    )


def _query(row: Annotation) -> Query:
    return Query(
        id=row.image_id,
        kind="mask" if row.segmentation or row.polygons else "box",
        group=row.instance,
        image_id=row.image_id,
        x=row.x,
        y=row.y,
        w=row.w,
        h=row.h,
        annotation_id=row.id,
        instance=row.instance,
        category=row.category,
    )


def _compressed(masks: Sequence[Any]) -> list[Rle | None]:
    """Each mask as compressed run lengths by columns; None where it has no runs."""
    found: list[Rle | None] = [mask if isinstance(mask, Rle) else None for mask in masks]
    for by_rows in (False, True):
        places = [i for i, mask in enumerate(masks) if isinstance(mask, Runs) and mask.by_rows == by_rows]
        runs = np.array([n for i in places for n in masks[i].counts], np.int64)
        offsets = np.cumsum([0, *(len(masks[i].counts) for i in places)])
        if by_rows:
            heights = np.array([masks[i].height for i in places], np.int64)
            widths = np.array([masks[i].width for i in places], np.int64)
            runs, offsets = runorder.transposed(runs, offsets, heights, widths)
        for i, text in zip(places, runlengths.encode(runs, offsets).to_pylist(), strict=True):
            found[i] = Rle((masks[i].height, masks[i].width), text)
    return found

"""Archives: the members of a ``.zip`` or a ``.tar``, compressed or not, looked at without unpacking anything.

Names are checked before a byte is read; then, from level full on, every member is read to its end in pieces, counted
and compared with its checksum, so that a damaged or a swelling one is found without holding it. Label files among them
are then checked by the rules of their own format, in memory.
"""

from __future__ import annotations

import lzma
import os
import stat
import tarfile
import unicodedata
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import msgspec
from msgspec.structs import replace

from curate.errors import SourceError
from curate.model import Finding, finding
from curate.pictures import read_header
from curate.verify import searchad
from curate.verify.contents import LABELS, MANIFEST, kind_of
from curate.verify.images import decode_fault
from curate.verify.manifests import SUMS
from curate.verify.paths import path_fault
from curate.verify.picture_files import SUFFIXES
from curate.verify.report import encodable
from curate.verify.subject import Subject, short
from curate.verify.text import other_kind

MAX_MEMBERS = 1_000_000
MAX_RATIO = 200
MAX_BYTES = 1 << 40
_PIECE = 1 << 20
_SMALL = 1 << 20  # an archive may hold a few compressible files: the ratio counts beyond this size
# Members that are looked into: how large, and how many.
_INSIDE_BYTES = 1 << 28
_INSIDE_MEMBERS = 20_000
_PICKLED = ("anns", "gnd_")
_PARTS = {MANIFEST, SUMS}  # of what is only checked as a whole
_OF_BROKEN = {"F01", "F03", "F04", "F05"}  # what is told of JSON that nobody knows to be labels
_NAMED = 4
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


class Member(NamedTuple):
    """A member as the archive states it."""

    name: str
    kind: str  # file, folder, link, or what else it is
    size: int
    target: str = ""
    encrypted: bool = False


def is_archive(path: Path) -> bool:
    """Whether a file is a zip archive or a tar, by its content."""
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError):
        return False


def load(path: Path) -> tuple[Subject | None, list[Finding]]:
    """The members under ``memo["members"]``; None where the list cannot be read or is too long."""
    try:
        members = []
        for member in _list(path):
            members.append(member)
            if len(members) > MAX_MEMBERS:
                return None, [finding("X02", path, f"has more than {MAX_MEMBERS:,} members")]
    except (*_DAMAGED, NotImplementedError, RecursionError, MemoryError) as error:
        return None, [finding("X03", path, f"archive is damaged ({error})", hint="make or download it again")]
    if not members:
        return None, [finding("X03", path, "holds no member; expected files", hint="make or download it again")]
    subject = Subject("archive", {}, lambda table, row, field: str(path))
    subject.memo |= {"members": members, "path": path}
    return subject, []


def counts(subject: Subject) -> dict[str, int]:
    return {"members": len(subject.memo["members"])}


def _list(path: Path) -> Iterator[Member]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                mode = info.external_attr >> 16 if info.create_system == 3 else 0
                kind = "folder" if info.is_dir() else "file"
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    kind = "link" if stat.S_ISLNK(mode) else "device"
                # Python turns a backslash into a slash on Windows only: the name as it was written is what counts.
                yield Member(info.orig_filename.partition("\0")[0], kind, info.file_size, "", bool(info.flag_bits & 1))
        return
    with tarfile.open(path) as tar:
        for one in tar:
            kind = "file" if one.isreg() else "folder" if one.isdir() else "link" if one.issym() or one.islnk() else ""
            yield Member(one.name, kind or "device", one.size, one.linkname)


def _place(subject: Subject, member: Member) -> str:
    return encodable(f"{subject.memo['path']}, {member.name}")


def escaping(subject: Subject) -> Iterator[Finding]:
    """X01: members whose name, or whose link, leads out of the folder that they would be unpacked into."""
    for member in subject.memo["members"]:
        item = encodable(member.name)
        fault = path_fault(member.name.rstrip("/") or member.name)
        if fault:
            yield finding("X01", _place(subject, member), f"name {short(item)} {fault}", item=item)
        elif member.kind == "device":
            yield finding("X01", _place(subject, member), "is no file, folder or link; expected one", item=item)
        elif member.kind == "link" and member.target:
            inside = str(PurePosixPath(member.name).parent / member.target)
            fault = path_fault(member.target) if member.target.startswith("/") else path_fault(inside)
            if fault:
                yield finding("X01", _place(subject, member), f"link to {short(member.target)} {fault}", item=item)
        elif member.kind == "link":
            yield finding("X01", _place(subject, member), "is a symbolic link; expected a file", item=item)


def swelling(subject: Subject) -> Iterator[Finding]:
    """X02: more than the archive is allowed to grow to, as it states it."""
    path, members = subject.memo["path"], subject.memo["members"]
    total, packed = sum(member.size for member in members), path.stat().st_size
    if total > MAX_BYTES or (total > _SMALL and total > MAX_RATIO * packed):
        text = f"{packed:,} bytes grow to {total:,}; expected at most {MAX_RATIO} times as many, and {MAX_BYTES:,}"
        yield finding("X02", encodable(str(path)), text)


def alike(subject: Subject) -> Iterator[Finding]:
    """X03 and P04: a name that stands twice, or is another's but for case or Unicode form; encrypted members."""
    seen: dict[str, str] = {}
    for member in subject.memo["members"]:
        item, name = encodable(member.name), str(PurePosixPath(member.name))
        earlier = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if member.encrypted:
            yield finding("X03", _place(subject, member), "is encrypted; expected a plain member", item=item)
        if earlier != name:
            text = f"{name!a} and {earlier!a} are one name on systems that ignore case or Unicode form"
            yield finding("P04", _place(subject, member), text, item=item)
    names = [str(PurePosixPath(member.name)) for member in subject.memo["members"] if member.kind != "folder"]
    for name in sorted(_twice(names)):
        yield finding("X03", encodable(f"{subject.memo['path']}, {name}"), "stands twice", item=encodable(name))


def _twice(names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]


def content(subject: Subject) -> Iterator[Finding]:
    """X02, X03, I04 and I07: members that do not read to their end, grow beyond their stated size, or are no picture
    or a damaged one."""
    path: Path = subject.memo["path"]
    deep = subject.memo.get("level") == "deep"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir() and not info.flag_bits & 1:
                    with_name = encodable(f"{path}, {info.orig_filename}")
                    try:
                        with archive.open(info) as stream:
                            yield from _read(stream, info.filename, info.file_size, with_name, deep=deep)
                    except (*_DAMAGED, NotImplementedError, RuntimeError) as error:
                        yield finding("X03", with_name, f"does not read ({error})", hint="make or download it again")
        return
    try:
        with tarfile.open(path) as tar:
            for one in tar:
                opened = tar.extractfile(one) if one.isreg() else None
                if opened is not None:
                    yield from _read(opened, one.name, one.size, encodable(f"{path}, {one.name}"), deep=deep)
    except _DAMAGED as error:
        yield finding("X03", encodable(str(path)), f"does not read to its end ({error})")


def inside(subject: Subject) -> Iterator[Finding]:
    """Members in a format of their own (COCO, Label Studio, anns.pt, pickles of revisitop, VOC, SearchAD) by that
    format's rules.

    Each is read into memory, one after the other, under a name that no folder has: nothing is unpacked. SearchAD's of
    one folder are looked at together. F09, a warning, for those that are not looked into: too large, too many, or parts
    of a dataset or release folder.
    """
    from curate.verify import verify  # which calls this

    path: Path = subject.memo["path"]
    wanted, left = _wanted(subject.memo["members"])
    together: dict[str, dict[str, bytes]] = {}  # SearchAD's files, by their folder
    for name, data in _known(path, wanted):
        kind = kind_of(name, data)
        broken = kind is None and _is_broken_json(name, data)
        if kind == "searchad":
            together.setdefault(str(PurePosixPath(name).parent), {})[name] = data
        if (kind is None or kind == "searchad") and not broken:
            continue  # an archive may hold whatever else
        with _in_memory(data) as file:
            for one in verify(file, files=False).findings:
                if not broken or one.code in _OF_BROKEN:
                    yield _named(one, path, {file: name})
    for members in together.values():
        yield from _searchad(path, members)
    if left:
        listed = ", ".join(left[:_NAMED]) + (", ..." if len(left) > _NAMED else "")
        count = f"{len(left):,} member{'s were' if len(left) > 1 else ' was'}"
        text = f"{count} not looked into: {listed}; expected files that can be checked one by one"
        hint = "unpack it and verify the folder"
        yield finding("F09", encodable(str(path)), encodable(text), severity="warning", hint=hint)


def _searchad(path: Path, members: Mapping[str, bytes]) -> Iterator[Finding]:
    """What is wrong with SearchAD's files of one folder, which belong together."""
    from curate.verify import of_subject  # which calls this

    with ExitStack() as stack:
        files = {stack.enter_context(_in_memory(data)): name for name, data in members.items()}
        parts = {PurePosixPath(name).name.lower(): file for file, name in files.items()}
        held, found = searchad.load(path, parts)
        for one in (*found, *(of_subject(held) if held is not None else ())):
            yield _named(one, path, files)


def _named(one: Finding, path: Path, files: Mapping[Path, str]) -> Finding:
    """A finding with the names of members where it has those of the files that these were read from."""
    place, message, item = one.where, one.message, one.item
    for file, name in sorted(files.items(), reverse=True):  # 10 before 1
        item = item or (name if str(file) in place or len(files) == 1 else None)
        place, message = (text.replace(str(file), f"{path}, {name}") for text in (place, message))
    return replace(one, where=encodable(place), message=encodable(message), item=item and encodable(item))


def _is_broken_json(name: str, data: bytes) -> bool:
    """Whether a member that is called JSON is none; the files that macOS adds to archives count as what they are."""
    if not name.lower().endswith(".json") or PurePosixPath(name).name.startswith("._"):
        return False
    try:
        msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return False


def _wanted(members: Sequence[Member]) -> tuple[list[Member], list[str]]:
    """The members to look into, and the names of those that are not though they may hold labels."""
    wanted: list[Member] = []
    left: list[str] = []
    for member in members:
        name = PurePosixPath(member.name).name
        suffix = PurePosixPath(name).suffix.lower()
        if member.kind != "file" or member.encrypted or name.startswith("._"):
            continue
        if name in _PARTS:
            left.append(member.name)
        elif suffix in LABELS:
            known = suffix in (".json", ".xml") or name.lower().startswith(_PICKLED)
            fits = known and member.size <= _INSIDE_BYTES and len(wanted) < _INSIDE_MEMBERS
            wanted.append(member) if fits else left.append(member.name)
    return wanted, left


def _known(path: Path, members: Sequence[Member]) -> Iterator[tuple[str, bytes]]:
    """Name and content of ``members``. What cannot be read to its end is passed over: X02 and X03 say so."""
    names = {member.name: member.size for member in members}
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    if info.orig_filename in names:
                        with archive.open(info) as stream:
                            yield info.orig_filename, stream.read(names[info.orig_filename] + 1)
            return
        with tarfile.open(path) as tar:
            for one in tar:
                opened = tar.extractfile(one) if one.isreg() and one.name in names else None
                if opened is not None:
                    yield one.name, opened.read(names[one.name] + 1)
    except (*_DAMAGED, NotImplementedError, RuntimeError):
        return


@contextmanager
def _in_memory(data: bytes) -> Iterator[Path]:
    """A path at which ``data`` can be read while the block runs; it is in no folder of the disk (Linux)."""
    descriptor = os.memfd_create("member")
    try:
        with open(descriptor, "wb", closefd=False) as stream:
            stream.write(data)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _read(stream: IO[bytes], name: str, size: int, where: str, *, deep: bool) -> Iterator[Finding]:
    total, head = 0, b""
    picture = bytearray() if Path(name).suffix.lower() in SUFFIXES and size <= _INSIDE_BYTES else None
    while piece := stream.read(_PIECE):
        head = head or piece[:64]
        total += len(piece)
        if picture is not None:
            picture += piece
        if total > size:
            yield finding("X02", where, f"grows beyond the {size:,} bytes that it states", item=encodable(name))
            return
    if total != size:
        yield finding("X03", where, f"has {total:,} bytes; expected {size:,} as it states", item=encodable(name))
    other = other_kind(head) if Path(name).suffix.lower() in SUFFIXES else None
    if other:
        yield finding("I07", where, f"is {other[0]}; expected a picture", item=encodable(name), hint=other[1])
    elif picture is not None and total == size:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, as of files
            yield from _picture(bytes(picture), name, where, deep=deep)


def _picture(data: bytes, name: str, where: str, *, deep: bool) -> Iterator[Finding]:
    """I07 and I04: a picture that is empty, or whose head or end is damaged; with ``deep`` also what is between."""
    if not data:
        yield finding("I07", where, "is empty; expected a picture", item=encodable(name))
        return
    with _in_memory(data) as file:
        try:
            read_header(file)
        except SourceError as error:
            yield finding("I04", where, error.found, item=encodable(name), hint=error.hint or None)
            return
        fault = decode_fault(file) if deep else None
        if fault:
            yield finding("I04", where, f"does not decode: {fault}", item=encodable(name))

"""The files of a raw download, listed and read with care: what several source modules need and none should repeat.

A download comes from elsewhere, so nothing about it is taken for granted: a name may not be text, a link may lead out
of the folder, a file may be a pipe. Such a file is listed together with the error that parsing it must raise, so that
the import can name it and, with ``--skip-bad``, leave it out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from curate.errors import SourceError, printable
from curate.model import Source
from curate.pictures import MAX_PIXELS
from curate.regular import read_regular

T = TypeVar("T")

_BOM = b"\xef\xbb\xbf"
_SHOWN = 6  # names listed in an error before "..."

# File names of one folder, each with the error that reading it must raise, or None for a sound file.
Listing = dict[str, SourceError | None]
Size = tuple[int, int]  # width, height


def list_files(root: Path, folder: str, ending: str | tuple[str, ...]) -> Listing:
    """Names in ``root/folder`` that end in ``ending``, or in one of several; empty if there is no such folder.

    Names that begin with a dot are passed over: editors, macOS (``._name``) and downloads leave such files behind.

    Raises:
        SourceError: the folder itself is a link that leaves the root, or no folder.
    """
    path = root / folder
    if not _enter(root, path):
        return {}
    with os.scandir(path) as entries:
        found = [entry for entry in entries if entry.name.endswith(ending) and not entry.name.startswith(".")]
        return {entry.name: _trouble(root, entry) for entry in found}


def list_folders(root: Path, folder: str) -> list[str]:
    """Names of the folders in ``root/folder``, sorted; empty if there is no such folder.

    Raises:
        SourceError: as :func:`list_files`.
    """
    path = root / folder
    if not _enter(root, path):
        return []
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # Only a link costs a look at the disk; unlike the entry's own method, Path takes links in a circle.
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def find_files(root: Path, folder: str, ending: str | tuple[str, ...]) -> Listing:
    """Files at any depth below ``root/folder`` whose names end in ``ending``, by path relative to that folder.

    Folders and files are those of :func:`list_folders` and :func:`list_files`. A folder is entered once, by its own
    name rather than by a link to it, so that links in a circle do no harm.

    Raises:
        SourceError: as :func:`list_files`.
    """
    found: Listing = {}
    seen: set[Path] = set()
    folders, links = [folder], list[str]()
    while folders or links:
        here = folders.pop() if folders else links.pop()
        real = (root / here).resolve()
        if real in seen:
            continue
        seen.add(real)
        below = here.removeprefix(folder).removeprefix("/")
        for name, error in list_files(root, here, ending).items():
            found[f"{below}/{name}" if below else name] = error
        for name in reversed(list_folders(root, here)):
            path = f"{here}/{name}" if here else name
            (links if (root / path).is_symlink() else folders).append(path)
    return found


def _enter(root: Path, path: Path) -> bool:
    """Whether there is a folder ``path``, which must lie inside ``root`` when its links are followed."""
    if not path.exists():
        return False
    if not path.is_dir():
        raise SourceError(path, "is a file", "expected a folder")
    if not path.resolve().is_relative_to(root.resolve()):
        raise _leaves(root, path)
    return True


def _trouble(root: Path, entry: os.DirEntry[str]) -> SourceError | None:
    if not _is_text(entry.path):
        return SourceError(shown(entry.path), "file name is not UTF-8", "expected plain text", "rename the file")
    if entry.is_symlink():
        path = Path(entry.path)
        if not Path(os.path.realpath(path)).is_relative_to(root.resolve()):
            return _leaves(root, path)
        regular = path.is_file()  # unlike the entry's own method, it takes links in a circle
    else:
        regular = entry.is_file()
    return None if regular else SourceError(entry.path, "is no regular file, or a link to nothing", "expected a file")


def _leaves(root: Path, path: Path) -> SourceError:
    return SourceError(
        shown(path),
        f"is a link that leaves {shown(root)}",
        "expected the file or folder itself",
        "put it in the place of the link, or name a folder that holds both",
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: Path | str) -> str:
    """A path as text that any file or terminal takes: what is no UTF-8 in it is escaped."""
    return printable(str(path))


def chosen_splits(
    root: Path, name: str, source: Source, folders: Mapping[str, Sequence[str]], splits: Sequence[str]
) -> list[str]:
    """The splits to import: those asked for, or all that are there, in the order of ``source.splits``.

    ``folders`` says for every split which folders below ``root`` may hold it; one of them must be there.

    Raises:
        SourceError: ``root`` has none of them, or lacks a split that was asked for; the error says what is there.
    """
    present = [split for split in source.splits if any((root / folder).is_dir() for folder in folders[split])]
    if not present:
        raise _another_tree(root, name, source, [folder for few in folders.values() for folder in few])
    for split in splits:
        if split not in present:
            raise SourceError(
                root, f"holds no split {split!r}", f"expected {folders[split][0]}/", f"it holds {', '.join(present)}"
            )
    return [split for split in present if not splits or split in splits]


def _another_tree(root: Path, name: str, source: Source, folders: Sequence[str]) -> SourceError:
    """What is wrong with a root that holds nothing of a source: an archive, a folder too high or low, another set."""
    expected = f"expected the tree of {source.title}, as {folders[0]}/"
    if not root.is_dir():
        return SourceError(root, "is a file", expected, "unpack the archives into one folder, and name that folder")
    names = sorted(shown(entry.name) for entry in root.iterdir() if not entry.name.startswith("."))
    found = f"holds {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}" if names else "is empty"
    inner = [entry for entry in names if any((root / entry / folder).is_dir() for folder in folders)]
    if inner:
        hint = f"name {root / inner[0]} instead"
    elif root.resolve().name in {folder.split("/")[0] for folder in folders}:
        hint = f"name the folder above, {root.resolve().parent}"
    elif any(entry.endswith((".zip", ".tar", ".tar.gz", ".tgz")) for entry in names):
        hint = "unpack the archives there first"
    else:
        hint = f"is it another dataset? see 'curate sources {name}'"
    return SourceError(root, found, expected, hint)


def read_bytes(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
        SourceError: it is none, or cannot be read.
    """
    try:
        return read_regular(path)
    except OSError as error:
        raise SourceError(path, f"cannot be read ({error.strerror})") from error


def read_text(path: Path) -> str:
    """The content of a UTF-8 text file, without a byte order mark.

    Raises:
        SourceError: it cannot be read, or is no UTF-8 text.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(path, f"byte {error.start} is not UTF-8 text", "expected a text file") from error


def read_json(path: Path, decoder: msgspec.json.Decoder[T]) -> T:
    """A JSON file, decoded to the type of ``decoder``.

    Raises:
        SourceError: it cannot be read, is no JSON (with line and column), or a value is missing or of another type
            (with its place, as in ``objects[3].polygon[0]``).
    """
    return decode_json(read_bytes(path).removeprefix(_BOM), decoder, path)


def decode_json(
    data: bytes | memoryview | msgspec.Raw, decoder: msgspec.json.Decoder[T], path: Path, place: str = ""
) -> T:
    """The JSON text ``data`` of the file ``path``, or of a part of it whose place is ``place`` (``annotations[3]``).

    Raises:
        SourceError: as :func:`read_json`.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        where = (place + inner.strip("`")).removeprefix(".")
        raise SourceError(
            f"{path}, {where}" if where else path, _lower(message), "expected the format's fields"
        ) from error
    except msgspec.DecodeError as error:
        raise _malformed(path, bytes(data), str(error)) from error
    except UnicodeDecodeError as error:
        raise SourceError(path, "holds text that is not UTF-8", "expected JSON in UTF-8") from error
    except RecursionError as error:
        raise SourceError(path, "is nested too deeply", "expected the format's few levels") from error


def _malformed(path: Path, data: bytes, message: str) -> SourceError:
    if not data.strip():
        return SourceError(path, "file is empty", "expected JSON", "download or unpack it again")
    place = re.search(r"\(byte (\d+)\)", message)
    if place is None:
        return SourceError(
            path, f"JSON is cut short after {len(data)} bytes", "expected its end", "download or unpack it again"
        )
    at = int(place[1])
    line, column = data.count(b"\n", 0, at) + 1, at - data.rfind(b"\n", 0, at)
    text = data[at : at + 12].split(b"\n")[0].decode("utf-8", "replace")
    return SourceError(f"{path}:{line}:{column}", f"JSON is malformed at {text!r} (byte {at})", "expected JSON")


def agreed_size(path: Path, size: Size, image: Size | None) -> Size:
    """The width and height that a label file ``path`` states, which must be those of its image if that is there.

    Raises:
        SourceError: it is another size, or no size that a picture can have.
    """
    width, height = size
    if width <= 0 or height <= 0 or width * height > MAX_PIXELS:
        raise SourceError(path, f"was made for {width} x {height} px", f"expected 1 to {MAX_PIXELS} px")
    if image and image != size:
        raise SourceError(
            path,
            f"was made for {width} x {height} px",
            f"its image has {image[0]} x {image[1]}",
            "use the original images and labels, both unscaled",
        )
    return size


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]

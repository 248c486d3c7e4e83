"""Whether a release is what its tables give: its exports and figures are made again from them, and compared.

Where the raw downloads are, ``curate run`` with the release's ``recipe.yaml`` makes the tables again; that is not done
here.
"""

from __future__ import annotations

import filecmp
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate import export, store
from curate.dataset import Dataset
from curate.errors import CurateError
from curate.model import Finding, finding
from curate.regular import read_regular
from curate.releasing import ALWAYS, NAMES, figures, write_exports
from curate.summary import summarise
from curate.verify.report import encodable

_HINT = "make the release again from its dataset"


def differences(path: Path) -> Iterator[Finding]:
    """V04: files of the release ``path`` that are not what its dataset gives, byte for byte."""
    try:
        dataset = store.read(path / "dataset")
        with tempfile.TemporaryDirectory(prefix="curate-") as folder:
            again = Path(folder)
            for name, text in figures(summarise(dataset)).items():
                (again / name).parent.mkdir(exist_ok=True)
                (again / name).write_bytes(text.encode("utf-8", "backslashreplace"))
                yield from _compared(again, path, name)
            yield from _exports(dataset, path, again)
    except CurateError as error:
        place = encodable(f"{path}/dataset")
        yield finding("V04", place, f"cannot be built again: {encodable(str(error))}", hint=_HINT)


def _exports(dataset: Dataset, path: Path, again: Path) -> Iterator[Finding]:
    formats = {NAMES.get(name, name): name for name in export.names()}
    try:
        held = sorted(file.name for file in (path / "export").iterdir())
    except OSError:
        return  # V01 says so
    for output in held:
        if output not in formats:
            text = "is of no format that is known; expected one of " + ", ".join(sorted(formats))
            yield finding("V04", encodable(f"{path}/export/{output}"), text)
            continue
        name = formats[output]
        if _of_another_arrow(path / "export" / output):
            text = "was written by another version of pyarrow, whose bytes differ: not compared"
            yield finding("V04", encodable(f"{path}/export/{output}"), text, severity="info")
            continue
        date = _date(path / "export" / output) if name == ALWAYS else None
        try:
            write_exports(dataset, again / name, [name], date)
        except CurateError as error:
            where = encodable(f"{path}/export/{output}")
            yield finding("V04", where, f"cannot be built again: {encodable(str(error))}", hint=_HINT)
            continue
        made = {file.relative_to(again / name) for file in (again / name).rglob("*") if file.is_file()}
        for file in sorted(made):
            yield from _compared(again / name, path / "export", str(file))


def _compared(again: Path, path: Path, name: str) -> Iterator[Finding]:
    where = encodable(f"{path}/{name}")
    try:
        same = filecmp.cmp(again / name, path / name, shallow=False)
    except OSError:
        return  # V01 says so
    if not same:
        yield finding("V04", where, "is not what the tables of the release give", item=encodable(name), hint=_HINT)


def _of_another_arrow(folder: Path) -> bool:
    """Whether a Parquet file of a folder names another version than the one at hand as its writer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in sorted(folder.rglob("*.parquet")):
        try:
            with pq.ParquetFile(file, pre_buffer=False) as parquet:
                if f"version {pa.__version__}" not in (parquet.metadata.created_by or ""):
                    return True
        except (pa.ArrowException, OSError):
            continue  # that it differs will be seen
    return False


def _date(folder: Path) -> str | None:
    """The date that a release was published on, as its Croissant says."""
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else [folder]:
        try:
            about: Any = json.loads(read_regular(file))
        except (OSError, ValueError, CurateError, RecursionError):
            continue
        if isinstance(about, Mapping) and isinstance(about.get("datePublished"), str):
            return str(about["datePublished"])
    return None

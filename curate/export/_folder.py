"""Exports that are folders: each says what it is and which files it has, and only such a folder is ever replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curate.atomic import atomic_folder
from curate.dataset import Dataset

MARK = "curate_export.json"


@contextmanager
def export_folder(path: Path, form: str, dataset: Dataset, *, overwrite: bool) -> Iterator[Path]:
    """An empty folder that becomes ``path`` when the block ends without an error, with :data:`MARK` in it.

    The mark has the format, the dataset's name and fingerprint, and the files: a folder is replaced only if it has a
    mark and no file beside those, so that neither a download nor anything that a user put there is lost.

    Raises:
        UsageError: as :func:`curate.atomic.atomic_folder`.
    """
    with atomic_folder(Path(path), overwrite=overwrite, ours=is_export) as folder:
        yield folder
        content = {
            "format": form,
            "dataset": dataset.info.name,
            "fingerprint": dataset.fingerprint(),
            "files": _files(folder),
        }
        (folder / MARK).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def is_export(folder: Path) -> bool:
    """Whether an export made everything in ``folder``."""
    try:
        listed = json.loads((folder / MARK).read_bytes())["files"]
        return set(_files(folder)) <= {MARK, *listed}
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    )

"""COCO JSON with the further columns as extra keys: pycocotools reads it, curate imports it back equal."""

from __future__ import annotations

from pathlib import Path

from curate import coco
from curate.dataset import Dataset
from curate.errors import UsageError


def write(
    dataset: Dataset,
    path: Path,
    *,
    overwrite: bool = False,
    compat: str | None = None,
    status: tuple[str, ...] = ("truth",),
    keep_ids: bool = False,
) -> dict[str, int]:
    """Write the file; see :func:`curate.coco.write`.

    Raises:
        UsageError: ``compat`` is given (COCO has no faulty upstream to reproduce), or as ``curate.coco.write`` says.
    """
    if compat is not None:
        raise UsageError("--compat", "export coco has no such variant", hint="leave --compat out")
    return coco.write(dataset, path, status=status, keep_ids=keep_ids, overwrite=overwrite)

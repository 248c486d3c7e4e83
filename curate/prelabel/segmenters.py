"""The segmenters by name. The user always names one: none is a sensible default for everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.prelabel.prompts import Segmenter

NAMES = ("sam", "grabcut", "ellipse")


def open_segmenter(
    name: str, *, checkpoint: Path | None = None, device: str = "cpu", kind: str | None = None, **options: Any
) -> Segmenter:
    """The segmenter ``name``, ready to work in this process.

    Args:
        checkpoint: file of weights, for ``sam``.
        device: as torch names it, for ``sam``.
        kind: what the checkpoint must be (``vit_b`` ...); whatever it is if None.
        options: of :class:`curate.prelabel.sam.Sam`: ``masks``, ``choose``, ``chunk``.

    Raises:
        UsageError: the name or an option is unknown, or an option is given that the segmenter does not have.
        SourceError: the checkpoint is missing, broken or of another kind.
        CurateError: a library is not installed.
    """
    if name not in NAMES:
        raise UsageError(f"segmenter {name!r}", "unknown", f"expected one of {', '.join(NAMES)}")
    given = {key: value for key, value in options.items() if value is not None}
    unknown = sorted(set(given) - {"masks", "choose", "chunk"})
    if unknown:
        raise UsageError(f"segmenter {name}, option {unknown[0]!r}", "unknown", "expected masks, choose or chunk")
    if name == "sam":
        from curate.prelabel.checkpoints import load
        from curate.prelabel.sam import Sam

        return Sam(load(checkpoint, kind=kind, device=device), **given)
    if checkpoint is not None or given:
        what = "a checkpoint" if checkpoint is not None else f"the option {sorted(given)[0]}"
        raise UsageError(f"segmenter {name}", f"was given {what}", "expected none", "only 'sam' has them")
    if name == "grabcut":
        from curate.prelabel.grabcut import GrabCut

        return GrabCut()
    from curate.prelabel.ellipse import Ellipse

    return Ellipse()

"""anns.pt of the SoIR benchmarks: one dictionary of queries and gallery for torch, written without torch.

Key = path of an image, value = its entry; queries and gallery lie in one dictionary, an image is one or the other.

=========  ===========================================  ==========================================================
field      query                                        gallery image (lists in parallel, one place per box)
=========  ===========================================  ==========================================================
bbox       x1, y1, x2, y2; the last pixel is inside     list of x1, y1, x2, y2; right and bottom are edges
mask       run lengths, or [] without mask              list of run lengths ([] where a box has none), or []
ins        number of the instance                       list of numbers
set        which set the numbers belong to              the same
num_ins    -                                            objects in the scene, per box, or []
is_query   true                                         false
is_val     false                                        whether the image comes from a validation file
=========  ===========================================  ==========================================================

The default is sound where VoxDet-SoIR's file has faults: keys are relative to the source's root and sorted; numbers are
plain, so that torch loads the file with ``weights_only=True``; every mask, also of the gallery, runs by rows with
``transpose`` false and a leading 0 where the first pixel is foreground, which all known readers decode right; images
without a box are gallery entries with empty lists. Left out, and counted: queries whose mask is empty or that have no
box, images whose file the import found missing, boxes of crowds, of ignore regions and of no instance. Only truth is
written. Where instances are no "set/number", they are numbered in sorted order and named under ``obj_name``.

``compat="upstream"`` reproduces what VoxDet-SoIR's ``create_dataset.py`` makes of the same tree: the root as typed
before each key, scenes of equal base name merged, run lengths of scenes as found, no leading 0 in the masks of queries,
the whole frame as box of an empty mask, no ``is_val``, and nothing of what it drops.
"""

from __future__ import annotations

from pathlib import Path

from curate import torch_zip
from curate.atomic import atomic_file
from curate.dataset import Dataset
from curate.engine import collector_paused
from curate.errors import UsageError
from curate.export._anns_pt_sound import sound_entries
from curate.export._anns_pt_upstream import upstream_entries


def write(
    dataset: Dataset,
    path: Path,
    *,
    overwrite: bool = False,
    compat: str | None = None,
    key_prefix: str | None = None,
) -> dict[str, int]:
    """Write ``dataset`` as ``path``; equal datasets give equal bytes.

    Args:
        compat: ``upstream`` for VoxDet-SoIR's own content.
        key_prefix: folder to put before each key; without it none, or with ``compat`` the root as typed at import.

    Returns:
        Counts: queries, gallery, boxes, masks, and what was left out.

    Raises:
        UsageError: ``path`` exists, or ``compat`` does not fit the dataset.
        SchemaError: two images have one key, an image is both query and gallery, or a mask is malformed.
    """
    if compat not in (None, "upstream"):
        raise UsageError(f"--compat {compat}", "unknown", "expected upstream")
    with atomic_file(Path(path), overwrite=overwrite) as stream, collector_paused():
        entries, left_out = (upstream_entries if compat else sound_entries)(dataset, key_prefix)
        torch_zip.save(entries, stream)
    shown = [entry for entry in entries.values() if not entry["is_query"]]
    return {
        "queries": len(entries) - len(shown),
        "gallery": len(shown),
        "boxes": sum(len(entry["bbox"]) for entry in shown),
        "masks": sum(1 for entry in shown for mask in entry["mask"] if mask),
        **{what: n for what, n in sorted(left_out.items()) if n},
    }

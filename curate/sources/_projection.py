"""Boxes in space, seen by a camera: the rectangles in its picture that enclose them, as nuScenes' own export has them.

Space is in metres. A box has its centre, its size as width, length, height and its rotation as a quaternion w, x, y, z;
in its own frame x runs forward (length), y to the left (width), z up. A camera looks along z, x to the right, y down.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# The corners of a box of size 2: along x, y, z.
_CORNERS = np.array([(x, y, z) for x in (1, -1) for y in (1, -1) for z in (1, -1)], float)
_FARTHEST = 1e12  # px; a corner beside the lens projects without bound


class Camera(NamedTuple):
    """A camera at one moment: the vehicle's pose in the world, the camera's on the vehicle, and its 3 x 3 matrix."""

    ego_translation: Floats
    ego_rotation: Floats
    translation: Floats
    rotation: Floats
    intrinsic: Floats


def rotation_matrices(quaternions: Floats) -> Floats:
    """Quaternions ``(4)`` or ``(n, 4)`` as w, x, y, z, of any length but 0, to matrices ``(3, 3)`` or ``(n, 3, 3)``."""
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)).T
    rows = (
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.array(rows).T.reshape(*quaternions.shape[:-1], 3, 3)


def project_boxes(
    centres: Floats, sizes: Floats, rotations: Floats, camera: Camera, width: int, height: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Boxes in the world to rectangles in a picture of ``width`` x ``height`` px.

    A rectangle encloses the part inside the frame of the convex hull of those corners that lie in front of the camera;
    corners behind it are dropped, not clipped, so that the rectangle of an object beside the vehicle may be wrong. The
    rule is that of ``export_2d_annotations_as_json.py`` of nuscenes-devkit, but that a hull which meets the frame in
    no area (where that script fails) gives none.

    Args:
        centres, sizes, rotations: of the boxes, ``(n, 3)``, ``(n, 3)`` and ``(n, 4)``.

    Returns:
        ``(n, 4)``: left, top, right, bottom, the latter two exclusive, NaN for a box that is not seen; and ``(n,)``:
        how many of the 8 corners lie in front of the camera.
    """
    seen = np.full((len(centres), 4), np.nan)
    if not len(centres):
        return seen, np.zeros(0, np.int64)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # places that no world has
        half = sizes[:, None, [1, 0, 2]] / 2
        corners = (_CORNERS * half) @ rotation_matrices(rotations).swapaxes(1, 2) + centres[:, None]
        on_vehicle = (corners - camera.ego_translation) @ rotation_matrices(camera.ego_rotation)
        before_lens = (on_vehicle - camera.translation) @ rotation_matrices(camera.rotation)
        in_front = before_lens[..., 2] > 0
        points = before_lens @ camera.intrinsic.T
        pixels = np.clip(points[..., :2] / points[..., 2:], -_FARTHEST, _FARTHEST)
    counts = in_front.sum(axis=1)
    chosen = np.flatnonzero(_may_be_seen(pixels, in_front, width, height))
    if len(chosen):
        owners = np.repeat(np.arange(len(chosen)), counts[chosen])
        hulls = shapely.convex_hull(shapely.multipoints(pixels[chosen][in_front[chosen]], indices=owners))
        inside = shapely.clip_by_rect(hulls, 0, 0, width, height)
        seen[chosen] = np.where(shapely.area(inside)[:, None] > 0, shapely.bounds(inside), np.nan)
    return seen, counts


def _may_be_seen(pixels: Floats, in_front: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    """Which boxes have 3 corners in front, as fewer enclose no area, and corners on no one side of the frame alone."""
    shown = in_front[..., None]
    low = np.where(shown, pixels, np.inf).min(axis=1)  # NaN, of a place beyond measure, stays and compares false
    high = np.where(shown, pixels, -np.inf).max(axis=1)
    meets = ((low < (width, height)) & (high > 0)).all(axis=1)
    seen: NDArray[np.bool_] = meets & (in_front.sum(axis=1) >= 3)
    return seen

"""How Label Studio's page asks for pictures that lie beside the server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from curate.errors import ReviewError


def image_url(file: Path, root: Path) -> str:
    """How the server's page asks for a local file: percent-encoded below the document root.

    Raises:
        ReviewError: the file lies elsewhere, or directly in the root, which the server does not allow.
    """
    try:
        inside = file.resolve().relative_to(root.resolve())
    except ValueError:
        inside = Path()
    if len(inside.parts) < 2:
        raise ReviewError(file, f"lies in no folder below {root}", hint="start the server with another --root")
    return "/data/local-files/?d=" + quote(inside.as_posix())

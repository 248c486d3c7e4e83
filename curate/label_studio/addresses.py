"""How Label Studio's page asks for pictures that lie beside the server."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from curate.errors import ReviewError

LOCAL = "/data/local-files/?d="


def image_url(file: Path, root: Path, hint: str = "start the server with another --root") -> str:
    """How the server's page asks for a local file: percent-encoded below the document root.

    A link below the root is followed by the server, so that the file itself may lie elsewhere.

    Raises:
        ReviewError: the file lies elsewhere, or directly in the root, which the server does not allow.
    """
    inside = _below(Path(os.path.normpath(file.absolute())), Path(os.path.normpath(root.absolute())))
    if inside is None:
        inside = _below(file.resolve(), root.resolve())
    if inside is None:
        raise ReviewError(file, f"lies in no folder below {root}", hint=hint)
    if len(inside.parts) < 2:
        raise ReviewError(file, f"lies directly in {root}", "expected a folder below it: the server asks for one", hint)
    return LOCAL + quote(inside.as_posix())


def _below(file: Path, root: Path) -> Path | None:
    return file.relative_to(root) if file.is_relative_to(root) else None

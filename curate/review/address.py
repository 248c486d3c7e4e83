"""Which Label Studio, and the token to enter it: named, in the environment, or in the user's configuration."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from curate.errors import UsageError

URL = "CURATE_LABEL_STUDIO_URL"
TOKEN = "CURATE_LABEL_STUDIO_TOKEN"


class Address(NamedTuple):
    url: str
    token: str

    def __repr__(self) -> str:
        return f"Address({self.url!r})"


def file() -> Path:
    """The user's configuration: ``url`` and ``token`` of a server."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "curate" / "label_studio.json"


def named(url: str | None) -> Address | None:
    """The server of ``url`` or of the environment; its token is the environment's, or the file's that has this url.

    Raises:
        UsageError: a url is given, and no token.
    """
    url = url or os.environ.get(URL)
    if not url:
        return None
    token = os.environ.get(TOKEN)
    if not token:
        held = configured()
        # A token goes to no other server than to that it was written down for.
        token = held.token if held and held.url.rstrip("/") == url.rstrip("/") else None
    if not token:
        raise UsageError(TOKEN, "is not set", "expected the account's token", f"set it, or write it into {file()}")
    return Address(url, token)


def configured() -> Address | None:
    """What the user's configuration names, if it is there.

    Raises:
        UsageError: others can read it, or it does not hold an address and a token.
    """
    path = file()
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(path, f"cannot be read ({type(error).__name__})", "expected JSON with url and token") from None
    if mode & 0o077:
        raise UsageError(path, f"mode {mode & 0o777:o}: others may read the token", "expected 600", f"chmod 600 {path}")
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        held = None
    if not isinstance(held, dict) or not all(isinstance(held.get(name), str) for name in ("url", "token")):
        raise UsageError(path, "no address and token", 'expected {"url": "http://host:port", "token": "..."}')
    return Address(held["url"], os.environ.get(TOKEN) or held["token"])

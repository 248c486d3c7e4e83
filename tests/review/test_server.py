"""The server of one's own, as far as it needs no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.errors import UsageError
from curate.review import server


def test_a_running_server_keeps_its_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server, "healthy", lambda url: True)
    for name in ("data", "root", "other"):
        (tmp_path / name).mkdir()
    running = server.Server("http://127.0.0.1:1", "t", "e", "p", 1, str(tmp_path / "root"))
    server._write(tmp_path / "data", running)
    assert server.start(Path("program"), tmp_path / "data", tmp_path / "other" / ".." / "root") == running
    with pytest.raises(UsageError) as error:
        server.start(Path("program"), tmp_path / "data", tmp_path / "other")
    assert f"shows {tmp_path / 'root'}; expected that one; end it with 'curate review serve" in error.value.line
    assert "--stop" in error.value.line

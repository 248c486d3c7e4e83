"""The server of one's own, as far as it needs no Label Studio: how long it runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate.errors import ReviewError, UsageError
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


# Stands for Label Studio, and is as quick to start as a shell.
SERVER = """\
#!{python}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{{"status":"UP"}}')
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health).serve_forever()
"""
STARTER = """
import sys
from pathlib import Path
from curate.review import server
server.start(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), outlives=sys.argv[4] == "outlives")
print("healthy", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "label-studio"
    path.write_text(SERVER.format(python=sys.executable))
    path.chmod(0o700)
    (tmp_path / "root").mkdir()
    return path


def starter(program: Path, how: str) -> subprocess.Popen[str]:
    folder = program.parent
    words = [sys.executable, "-c", STARTER, str(program), str(folder / "data"), str(folder / "root"), how]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "healthy\n"
    return process


def ended(url: str) -> bool:
    """Waits for it; a server that stays runs into the test's own limit."""
    while server.healthy(url):
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_server_that_does_not_outlive_its_starter_ends_with_it(program: Path, sign: signal.Signals | None) -> None:
    process = starter(program, "does not")
    running = server.opened(program.parent / "data")
    assert running is not None
    assert server.healthy(running.url)
    if sign is None:
        process.communicate(timeout=60)  # its input ends, and so does it
    else:
        process.send_signal(sign)
        process.communicate()
    assert ended(running.url)
    assert not server.stop(program.parent / "data")


def test_a_server_that_is_stopped_leaves_nothing_behind(program: Path) -> None:
    process = starter(program, "does not")
    keepers = children(process.pid)
    assert len(keepers) == 1
    assert server.stop(program.parent / "data")
    process.communicate()
    while Path(f"/proc/{keepers[0]}").exists():
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_one_that_shall_outlive_it_does(program: Path) -> None:
    process = starter(program, "outlives")
    running = server.opened(program.parent / "data")
    assert running is not None
    try:
        process.kill()
        process.communicate()
        assert server.healthy(running.url)
        assert server._ours(running.pid)
    finally:
        assert server.stop(program.parent / "data")
    assert not server.healthy(running.url)


@pytest.mark.parametrize("outlives", [True, False])
def test_one_that_ends_at_once_is_told(program: Path, outlives: bool) -> None:
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(ReviewError, match=r"Label Studio ended \(3\); see .*server.log"):
        server.start(program, program.parent / "data", program.parent / "root", outlives=outlives)

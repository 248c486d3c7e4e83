"""A Label Studio of one's own on loopback: installed once in its own virtual environment, started, stopped.

It gets its own environment because it pins Django, the SDK and much else. Data and secrets lie in one folder that only
its owner can read; secrets reach the process through its environment, never through its arguments.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, NamedTuple

from curate.atomic import atomic_file
from curate.errors import ReviewError, UsageError

VERSION = "1.23.2"
ADMIN = "admin@example.org"


class Server(NamedTuple):
    """A running server, and how to enter it."""

    url: str
    token: str
    email: str
    password: str
    pid: int
    root: str  # images below it can be shown

    def __repr__(self) -> str:
        return f"Server({self.url!r})"


def home() -> Path:
    """Where the server's program is installed: CURATE_LABEL_STUDIO, or a folder of the user's cache."""
    given = os.environ.get("CURATE_LABEL_STUDIO")
    if given:
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "curate" / f"label-studio-{VERSION}"


def install(folder: Path) -> Path:
    """The server's program in ``folder``, installed there if it is not; 0.7 GB, once.

    Raises:
        ReviewError: the installation failed; what pip said is in ``install.log`` there.
    """
    program, done = folder / "bin" / "label-studio", folder / "installed"
    if done.exists() or (program.exists() and "CURATE_LABEL_STUDIO" in os.environ):
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "install.log").open("wb") as log:
        for words in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "python"), "-m", "pip", "install", f"label-studio=={VERSION}"],
        ):
            if subprocess.run(words, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
                raise ReviewError(folder, "Label Studio was not installed", hint=f"see {folder / 'install.log'}")
    done.touch()
    return program


def start(
    program: Path, data: Path, root: Path, port: int | None = None, patience: float = 300, *, outlives: bool = True
) -> Server:
    """Start the server on loopback, or give the one that runs on ``data``; waits until it is healthy.

    Images are shown from folders strictly below ``root``. One that does not outlive this process ends with it, however
    that ends.

    Raises:
        ReviewError: it ends at once, or is not healthy in ``patience`` seconds.
        UsageError: ``root`` is no folder, or the server that runs has another.
    """
    running = opened(data)
    if running is not None and healthy(running.url):
        if root.resolve() != Path(running.root):
            hint = f"end it with 'curate review serve --data {data} --stop', then start it with this root"
            raise UsageError(root, f"the server that runs on {data} shows {running.root}", "expected that one", hint)
        return running
    if not root.is_dir():
        raise UsageError(root, "is no folder", "expected the folder that the images lie below")
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    data.chmod(0o700)
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    token = running.token if running else secrets.token_hex(20)
    password = running.password if running else secrets.token_urlsafe(12)
    url = f"http://127.0.0.1:{port}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LABEL_STUDIO", "DJANGO"))}
    environment |= {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data.resolve()),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(root.resolve()),
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_USERNAME": ADMIN,
        "LABEL_STUDIO_PASSWORD": password,
        "LABEL_STUDIO_USER_TOKEN": token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        # Bad predictions are answered with 400 instead of silence.
        "fflag_feat_utc_210_prediction_validation_15082025": "true",
    }
    words = [str(program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    with (data / "server.log").open("ab") as log:
        run = _run if outlives else _run_while_we_live
        process, pid = run(words, environment, log)
    server = Server(url, token, ADMIN, password, pid, str(root.resolve()))
    _write(data, server)
    deadline = time.monotonic() + patience
    while not healthy(url):
        if process.poll() is not None:
            raise ReviewError(url, f"Label Studio ended ({process.returncode})", hint=f"see {data / 'server.log'}")
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            raise ReviewError(url, "Label Studio is not healthy", hint=f"see {data / 'server.log'}")
        time.sleep(0.3)
    return server


def _run(words: list[str], environment: dict[str, str], log: IO[bytes]) -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen(
        words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    return process, process.pid


def _run_while_we_live(
    words: list[str], environment: dict[str, str], log: IO[bytes]
) -> tuple[subprocess.Popen[bytes], int]:
    keeper = [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py")), *words]
    theirs, _ = os.pipe()  # our end is never closed, but by the end of this process
    try:
        process = subprocess.Popen(
            keeper, env=environment, stdin=theirs, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    finally:
        os.close(theirs)
    assert process.stdout is not None
    with process.stdout as said:
        pid = said.readline()
    if not pid:
        raise ReviewError(words[0], "could not be started", hint="see server.log beside its data")
    return process, int(pid)


def opened(data: Path) -> Server | None:
    """The server that was last started on ``data``, running or not."""
    try:
        return Server(**json.loads((data / "server.json").read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ReviewError(data / "server.json", f"damaged: {error}", hint="remove it and start again") from None


def stop(data: Path, patience: float = 20) -> bool:
    """End the server that runs on ``data``; false if none does."""
    server = opened(data)
    if server is None or not _ours(server.pid):
        return False
    for sign in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + patience
        os.kill(server.pid, sign)
        while time.monotonic() < deadline:
            if not _ours(server.pid):
                return True
            time.sleep(0.1)
    return False


def healthy(url: str) -> bool:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/health", timeout=5) as answer:
            return b"UP" in answer.read(200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def _ours(pid: int) -> bool:
    """Whether a process is (still) a Label Studio: a number may have gone to somebody else since."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return b"label-studio" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _write(data: Path, server: Server) -> None:
    file = data / "server.json"
    with atomic_file(file, overwrite=True) as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(json.dumps(server._asdict(), indent=1).encode())

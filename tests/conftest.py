"""Fixtures that several tests share."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# How long an example takes is no property of the code: the machine may be busy with other things.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real samples and golden data that lies beside the repository; tests skip where it does not."""
    folder = Path(os.environ.get("CURATE_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"real samples and golden data are not here ({folder})")
    return folder


@pytest.fixture
def curate(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a process of its own, in a temporary folder: ``curate("info", "ds", code=0)``."""

    def run(*arguments: object, code: int | None = 0, **options: object) -> subprocess.CompletedProcess[str]:
        options.setdefault("cwd", tmp_path)
        done = subprocess.run(
            [sys.executable, "-m", "curate", *map(str, arguments)], capture_output=True, text=True, **options
        )  # type: ignore[call-overload]
        if code is not None:
            assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stderr
        return done

    return run


class Browser:
    """A headless Chromium that opens pages of ours; it has no display, no profile and no network of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder = program, folder

    def _run(self, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        flags += ["--disable-component-update", "--disable-sync", "--disable-extensions", "--virtual-time-budget=4000"]
        flags += [f"--user-data-dir={self.folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
        return subprocess.run(
            [self.program, *flags, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )

    def console(self, page: Path) -> list[str]:
        """What the page says on the console: errors of scripts, and whatever its security policy had to refuse."""
        shown = self._run(page, "--enable-logging=stderr", "--dump-dom")
        assert "<html" in shown.stdout
        return [line.split("CONSOLE", 1)[1] for line in shown.stderr.splitlines() if ":CONSOLE" in line]

    def widths(self, page: Path, width: int) -> tuple[int, int]:
        """Width of the window and of the page's content, in a window ``width`` pixels wide."""
        # A window has a least width; a frame has none.
        frame = self.folder / "frame.html"
        frame.write_text(
            f'<iframe width="{width}" height="900" srcdoc="{escape(page.read_text("utf-8"))}"></iframe>'
            "<script>onload = () => { const d = document.querySelector('iframe').contentDocument.documentElement;"
            " document.title = d.clientWidth + ' ' + d.scrollWidth; }</script>",
            "utf-8",
        )
        found = re.search(r"<title>(\d+) (\d+)</title>", self._run(frame, "--dump-dom").stdout)
        assert found, "the page did not load"
        return int(found[1]), int(found[2])


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """Chromium, if it is installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed ('apt-get install chromium')")
    folder = tmp_path / "browser"
    folder.mkdir()
    return Browser(program, folder)

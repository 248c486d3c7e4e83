"""Fixtures that several tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


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

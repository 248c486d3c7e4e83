"""Start-up is instant: heavy libraries are imported inside the command that needs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.benchmarks.conftest import SLACK, curate_command, run_once, side_by_side

pytestmark = pytest.mark.benchmark


def test_help_costs_little_more_than_click(report: Callable[..., None]) -> None:
    found = side_by_side(
        9,
        help=lambda: run_once(curate_command("--help")),
        click=lambda: run_once([sys.executable, "-c", "import click"]),
    )
    ratio = found["help"].cpu / found["click"].cpu
    report(help=found["help"].cpu, click=found["click"].cpu, ratio=ratio)
    assert ratio <= 3 * SLACK


@pytest.mark.parametrize(
    "arguments", [["--help"], ["import", "--help"], ["build", "subset", "--help"], ["verify", "--help"]]
)
def test_help_imports_neither_numpy_nor_pandas(arguments: list[str]) -> None:
    code = (
        "import sys, click\nfrom curate.commands import cli\n"
        f"try: cli.main({arguments!r}, standalone_mode=False)\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'PIL', 'torch', 'shapely', 'msgspec'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

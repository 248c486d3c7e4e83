"""``curate demo``: the tour from raw downloads to a verified benchmark, on drawn scenes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.commands.options import check_installed, output_options, report_options, show_result

if TYPE_CHECKING:
    from curate.demo.steps import Done


@click.command("demo")
@output_options("the tour")
@click.option("--prelabel", is_flag=True, help="Also draw masks with three segmenters; needs the extra 'sam'.")
@click.option(
    "--review",
    is_flag=True,
    help="Also let three played people outline things in a real Label Studio; a minute or two.",
)
@report_options
def command(output: Path, overwrite: bool, prelabel: bool, review: bool, as_json: bool, quiet: bool) -> int:
    """Draw small raw downloads and take them through every step, to a verified query/gallery benchmark.

    \b
      curate demo -o demo

    Downloads in the layouts of KITTI, Cityscapes and VoxDet are drawn, imported, merged, filtered, split into queries
    and gallery, exported and verified. OUTPUT/index.html shows what was made, and lists the commands that do the same
    by hand. It takes some seconds and needs no network. Exit code 1 if the check finds an error.

    With --review a Label Studio of its own is started on loopback, the first time after installing it (0.7 GB), and
    ended again. Three people annotate, refine and inspect there, one after another as for PROxford, and once blindly,
    which gives figures of agreement.
    """
    from curate.demo import tour

    if prelabel:
        check_installed("demo --prelabel", "cv2", "torch", "segment_anything")
    if review:
        check_installed("demo --review", "scipy")
    tour.ready(output, overwrite=overwrite)
    start = time.perf_counter()
    tell = (lambda done: None) if as_json or quiet else (lambda done: click.echo(_line(done)))
    done = tour.run(output, overwrite=overwrite, with_prelabel=prelabel, with_review=review, tell=tell)
    seconds = time.perf_counter() - start
    errors = sum(step.outcome.report.errors for step in done if step.outcome.report)
    result = {
        "output": str(output),
        "page": str(output / "index.html"),
        "seconds": round(seconds, 3),
        "errors": errors,
        "steps": [_values(step) for step in done],
        "by_hand": tour.by_hand(done),
    }
    verdict = "verified without errors" if not errors else f"{errors:,} errors found"
    text = f"{seconds:5.1f} s  {verdict}; look at {output / 'index.html'}"
    show_result(result, text, as_json=as_json, quiet=quiet)
    return 1 if errors else 0


def _line(done: Done) -> str:
    counts = {what: number for what, number in done.outcome.counts.items() if number or what == "errors"}
    shown = ", ".join(f"{n / 1e6:.1f} MB" if what == "bytes" else f"{n:,} {what}" for what, n in counts.items())
    return f"{done.seconds:5.1f} s  {done.what.ljust(21)}  {shown}"


def _values(done: Done) -> dict[str, Any]:
    values = {"what": done.what, "seconds": round(done.seconds, 3), "counts": done.outcome.counts}
    return values | ({"fingerprint": done.outcome.fingerprint} if done.outcome.fingerprint else {})

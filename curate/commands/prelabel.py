"""``curate prelabel``: masks for the boxes that a dataset has, in bulk, as proposals for review."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from curate.commands.options import (
    check_apart,
    check_new_file,
    check_roots,
    dataset_argument,
    jobs_option,
    output_options,
    progress,
    report_options,
    root_option,
    show_result,
    table,
    workers,
)
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.dataset import Dataset
    from curate.prelabel.runner import Outcome
    from curate.prelabel.tasks import Task


@click.command("prelabel")
@dataset_argument
@output_options("the dataset with the proposals", required=False)
@click.option(
    "--detector",
    type=click.Choice(["source", "owlv2", "automatic"]),
    default="source",
    show_default=True,
    help="Where boxes come from: the dataset, OWLv2, or (automatic) everything that sam finds.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with the weights of OWLv2, for --detector owlv2.",
)
@click.option("--text", "texts", multiple=True, help="What OWLv2 looks for; anything if not given. May be repeated.")
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="Least score of OWLv2's boxes, 0 to 1; 0.2 if not given."
)
@click.option(
    "--nms",
    type=click.FloatRange(0, 1),
    help="IoU above which only the better of two of OWLv2's boxes stays; 0.4 if not given.",
)
@click.option("--points", type=click.IntRange(min=1), help="Points per side of automatic's grid; 32 if not given.")
@click.option(
    "--segmenter",
    type=click.Choice(["sam", "grabcut", "ellipse"]),
    required=True,
    help="What draws the masks; there is no default.",
)
@click.option("--checkpoint", type=click.Path(path_type=Path), metavar="FILE", help="Weights of Segment Anything.")
@click.option(
    "--kind",
    type=click.Choice(["vit_b", "vit_l", "vit_h", "tiny-test"]),
    help="What the checkpoint must be; otherwise whatever it is.",
)
@click.option("--device", default="cpu", show_default=True, help="As torch names it: cpu, cuda, cuda:1.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Only boxes of this class; may be repeated.")
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only images of this source; may be repeated.")
@click.option("--without-mask", is_flag=True, help="Only boxes that have no mask yet.")
@click.option("--masks", type=click.Choice(["1", "3"]), help="Candidates per box that sam draws; 1 if not given.")
@click.option(
    "--choose",
    type=click.Choice(["predicted", "box"]),
    help="Of three candidates, the best by the IoU that sam expects (if not given), or by agreement with the box.",
)
@click.option(
    "--chunk", type=click.IntRange(min=1), help="Boxes that sam decodes at once; 2 on a CPU, 64 on a GPU if not given."
)
@click.option(
    "--clean",
    type=click.FloatRange(0, 1),
    default=0.02,
    show_default=True,
    metavar="SHARE",
    help="Islands below this share of the largest part go, holes below this share of the mask are filled; 0: none.",
)
@click.option(
    "--shard-size",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Images per shard, the unit in which a killed run goes on.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for work in progress, removed at the end; OUTPUT.work if not given.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads of torch per process; 1 if -j is above 1, else torch's own choice.",
)
@click.option("--no-proof", is_flag=True, help="Skip the check that masks beat ellipses on a drawing.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write a page with plots and examples.")
@click.option(
    "--queue", "queue_file", type=click.Path(path_type=Path), help="Write the review queue, doubtful first (CSV)."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and open no model.")
@root_option
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Local processes, or actors of Ray.",
)
@click.option(
    "--ray-address",
    metavar="HOST:PORT",
    help="Of the Ray cluster to join; one is started on this machine if not given.",
)
@jobs_option
@report_options
def command(
    dataset: Path,
    output: Path | None,
    overwrite: bool,
    detector: str,
    weights: Path | None,
    texts: tuple[str, ...],
    threshold: float | None,
    nms: float | None,
    points: int | None,
    segmenter: str,
    checkpoint: Path | None,
    kind: str | None,
    device: str,
    classes: tuple[str, ...],
    sources: tuple[str, ...],
    without_mask: bool,
    masks: str | None,
    choose: str | None,
    chunk: int | None,
    clean: float,
    shard_size: int,
    work: Path | None,
    threads: int | None,
    no_proof: bool,
    html_file: Path | None,
    queue_file: Path | None,
    dry_run: bool,
    roots: dict[str, str],
    engine: Literal["local", "ray"],
    ray_address: str | None,
    jobs: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Draw a mask for each box of the dataset DS: a new annotation, a proposal beside the one that has the box.

    \b
      curate prelabel kitti --segmenter sam --checkpoint sam_vit_b_01ec64.pth --class Cyclist -o kitti-sam
      curate prelabel kitti --segmenter grabcut --dry-run

    sam is Segment Anything by its official code (pip install 'curate[sam]'); download the weights yourself. grabcut
    needs no weights and does for clear objects only; ellipse is what both must beat. Nothing that was there changes.

    A run that is killed goes on where it was when the same command is given again; the result is the same, to the byte.
    With --detector owlv2 or automatic all images are looked at, and the proposals are new objects:

    \b
      curate prelabel idd --detector owlv2 --weights owlv2-base --text rickshaw --segmenter grabcut -o idd-found

    An image that cannot be read is listed in problems.jsonl, the others go on, and the exit code is 1. So is, with -j 2
    or more, an image of which worker processes die; one that is killed by accident is replaced.
    """
    from curate import store
    from curate.prelabel import proof, runner

    _check_places(dataset, output, overwrite, dry_run, html_file, queue_file, work)
    if ray_address is not None and engine != "ray":
        raise UsageError("--ray-address", "is given, but not --engine ray")
    opened = store.read(dataset)
    tasks = _tasks(opened, detector, classes, sources, without_mask, roots)
    if dry_run or output is None:
        show_result(_plan(tasks), _plan_text(tasks), as_json=as_json, quiet=quiet)
        return 0
    folder = work or output.with_name(f"{output.name}.work")
    searching = {"weights": weights, "texts": texts or None, "threshold": threshold, "nms": nms, "points": points}
    with progress("prelabel", quiet=quiet) as tell:
        outcome = runner.run(
            opened,
            tasks,
            folder,
            segmenter,
            checkpoint=checkpoint,
            kind=kind,
            device=device,
            options={"masks": int(masks) if masks else None, "choose": choose, "chunk": chunk},
            detector=detector,
            detector_options=searching,
            share=clean,
            shard=shard_size,
            jobs=workers(jobs),
            threads=threads,
            engine=engine,
            ray_address=ray_address,
            prove=None if no_proof or segmenter == "ellipse" else proof.prove,
            progress=tell,
        )
    manifest = store.write(outcome.dataset, output, overwrite=overwrite)
    _look(outcome, html_file, queue_file, roots, overwrite)
    shutil.rmtree(folder)
    result = _result(outcome, tasks, output, manifest.fingerprint)
    failed = sum(one.code.startswith("I") for one in outcome.problems)
    show_result(result, _text(result, outcome, failed), as_json=as_json, quiet=quiet)
    return 1 if failed else 0


def _check_places(
    dataset: Path,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    html_file: Path | None,
    queue_file: Path | None,
    work: Path | None,
) -> None:
    """Refuse outputs that cannot be written, before the work starts."""
    from curate import store

    if output is None and not dry_run:
        raise UsageError("--output", "is missing", "expected -o and a folder to write, or --dry-run")
    if output is not None:
        store.ready_to_write(output, overwrite=overwrite, inputs=[dataset])
    check_apart({"--output": output, "--html": html_file, "--queue": queue_file, "--work": work})
    for file in (html_file, queue_file):
        if file is not None:
            check_new_file(file, overwrite, dataset)


def _tasks(
    dataset: Dataset,
    detector: str,
    classes: tuple[str, ...],
    sources: tuple[str, ...],
    without_mask: bool,
    roots: dict[str, str],
) -> list[Task]:
    """What is to be done: the boxes that are there, or the images that a detector is to search."""
    from curate.prelabel.tasks import select, select_images

    check_roots(roots, dataset.table("images")["source"].unique().to_pylist())
    if detector == "source":
        return select(dataset, classes=classes, sources=sources, without_mask=without_mask, roots=roots)
    if classes or without_mask:
        what = "--class" if classes else "--without-mask"
        raise UsageError(what, f"chooses among boxes that are there; {detector} looks for others")
    return select_images(dataset, sources=sources, roots=roots)


def _look(
    outcome: Outcome, html_file: Path | None, queue_file: Path | None, roots: dict[str, str], overwrite: bool
) -> None:
    from curate.atomic import atomic_file
    from curate.pages import prelabel

    if html_file is not None:
        page = prelabel.draw_page(outcome.dataset, seconds=_seconds(outcome), roots=roots)
        with atomic_file(html_file, overwrite=overwrite) as stream:
            stream.write(page.encode())
    if queue_file is not None:
        with atomic_file(queue_file, overwrite=overwrite) as stream:
            stream.write(prelabel.queue_csv(prelabel.proposals(outcome.dataset)))


def _result(outcome: Outcome, tasks: list[Task], output: Path, fingerprint: str) -> dict[str, Any]:
    return {
        "output": str(output),
        "fingerprint": fingerprint,
        "images": len(tasks),
        "boxes": sum(len(task.wanted) for task in tasks),
        "masks": outcome.masks,
        "problems": dict(sorted(Counter(one.code for one in outcome.problems).items())),
        "seconds": _seconds(outcome),
    }


def _plan(tasks: list[Task]) -> dict[str, Any]:
    counts = Counter(wanted.category or "" for task in tasks for wanted in task.wanted)
    missing = sum(task.path is None or not Path(task.path).is_file() for task in tasks)
    return {
        "images": len(tasks),
        "boxes": sum(counts.values()),
        "classes": dict(sorted(counts.items())),
        "images_without_file": missing,
    }


def _plan_text(tasks: list[Task]) -> str:
    plan = _plan(tasks)
    classes = sorted(plan["classes"].items(), key=lambda pair: (-pair[1], pair[0]))
    lines = [table(list(classes), ("class", "boxes"))] if classes else []
    lines.append(f"{plan['boxes']:,} boxes in {plan['images']:,} images; nothing was done")
    if plan["images_without_file"]:
        lines.append(f"{plan['images_without_file']:,} of the images have no file where it should be (--root)")
    return "\n".join(lines)


def _seconds(outcome: Outcome) -> dict[str, float]:
    total: Counter[str] = Counter()
    for timing in outcome.timings:
        total.update(timing.seconds)
    return {name: round(value, 3) for name, value in total.items()}


def _text(result: dict[str, Any], outcome: Outcome, failed: int) -> str:
    from curate.prelabel.ledger import POISONOUS

    what = f" for {result['boxes']:,} boxes" if result["boxes"] else ""
    lines = [f"{outcome.masks:,} masks{what} in {result['images']:,} images -> {result['output']}"]
    if outcome.done_before:
        lines.append(f"{outcome.done_before:,} shards were there from an earlier run")
    spent = ", ".join(f"{name} {value:.1f} s" for name, value in result["seconds"].items())
    if spent:
        lines.append(f"time: {spent}")
    if outcome.problems:
        codes = ", ".join(f"{code} {number:,}" for code, number in result["problems"].items())
        lines.append(f"{len(outcome.problems):,} problems, see problems.jsonl: {codes}")
    killed = sum(POISONOUS in one.message for one in outcome.problems)
    if failed > killed:
        lines.append(f"{failed - killed:,} images could not be read")
    if killed:
        lines.append(
            f"{killed:,} images ended their worker each time and were left out; with more memory or fewer --jobs they "
            "may go through: give the same command again, with --overwrite"
        )
    return "\n".join(lines)

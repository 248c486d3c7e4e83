"""``curate build``: subsets, query/gallery splits and hidden tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.commands.options import dataset_argument, output_options, report_options, show_result
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.dataset import Dataset

_SHOWN = 20  # findings that are listed

dry_run_option = click.option("--dry-run", is_flag=True, help="Show what each step would leave, and write nothing.")


@click.group("build")
def command() -> None:
    """Make a dataset out of another: subsets, query/gallery splits, hidden tests."""


@command.command("subset")
@dataset_argument
@output_options("the subset", required=False)
@click.option(
    "--size",
    multiple=True,
    metavar="BOUND",
    help='Only annotations whose box is such a share of the image: "<0.15", ">=1%". Several must all hold.',
)
@click.option("--class", "classes", multiple=True, metavar="CLASS", help="Only annotations of this class.")
@click.option("--source", "sources", multiple=True, metavar="SOURCE", help="Only images of this source.")
@click.option("--split", "splits", multiple=True, metavar="SPLIT", help="Only images of this split.")
@click.option(
    "--where",
    multiple=True,
    metavar="EXPR",
    help="Only what meets a condition, such as \"weather == 'fog' and h >= 20\". Several must all hold.",
)
@click.option("--drop-empty", is_flag=True, help="Also drop images that are left without annotation.")
@dry_run_option
@report_options
def subset(
    dataset: Path,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **filters: Any,
) -> None:
    """Filter the dataset DS; --class, --source and --split may be given several times and mean any of them.

    \b
      curate build subset kitti --size "<0.15" -o small
      curate build subset all --class Car --class Van --split training --drop-empty -o cars
      curate build subset all --where "image.weather == 'fog' and not iscrowd" -o fog

    The filters work in this order: source, split, conditions on images, class, size, conditions on annotations, emptied
    images. The counts after each are shown, and kept in dataset.json.

    --size compares w*h / (W*H); an annotation without box passes no bound. --split is that of this dataset, or of the
    source where this dataset has none. An image that loses an annotation to --size or --where is no longer a negative
    of that class: a row of the table coverage says so.
    """
    read, finish = _ready(dataset, output, overwrite=overwrite, dry_run=dry_run)
    from curate.build.subset import build_subset

    finish(build_subset(read, **filters), as_json=as_json, quiet=quiet)


@command.group("split")
def split() -> None:
    """Divide a dataset."""


@split.command("query-gallery")
@dataset_argument
@output_options("the split dataset", required=False)
@click.option(
    "--target",
    type=click.Choice(["instance", "category"]),
    help="What a query asks for.  [default: instance, where the dataset has any]",
)
@click.option("--queries-per", type=click.IntRange(min=1), help="Queries per target.  [default: 1]")
@click.option(
    "--rule",
    type=click.Choice(["largest", "first"]),
    help="Which annotations become queries: the largest, or the first by id.  [default: largest]",
)
@click.option(
    "--kind",
    type=click.Choice(["box", "mask", "image"]),
    help="What of the image is the query.  [default: box]",
)
@click.option(
    "--min-area",
    type=click.FloatRange(min=0),
    metavar="PX",
    help="Boxes below this area, in px², are no queries, and images with no larger one are ignored.",
)
@click.option(
    "--group",
    type=click.Choice(["sequence", "place", "none"]),
    default="sequence",
    show_default=True,
    help="Images that share it with a query leave the gallery.",
)
@click.option("--keep-members", is_flag=True, help="Keep the queries and the gallery that the dataset has.")
@dry_run_option
@report_options
def query_gallery(
    dataset: Path,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Choose queries in the dataset DS, and the gallery that is searched for them.

    \b
      curate build split query-gallery kitti --target category -o benchmark
      curate build split query-gallery voxdet -o soir

    Every query has a positive in the gallery; a target that cannot have such a query gets none and is reported. A
    dataset that has queries keeps them, checked, unless an option asks for others.
    """
    read, finish = _ready(dataset, output, overwrite=overwrite, dry_run=dry_run)
    from curate.build.split import build_split

    finish(build_split(read, **options), as_json=as_json, quiet=quiet)


@command.command("hidden")
@dataset_argument
@output_options("what is published", required=False)
@click.option("--key", type=click.Path(path_type=Path), help="Where to write the key: the labels that are withheld.")
@click.option("--split", "splits", multiple=True, metavar="SPLIT", required=True, help="Hide the labels of this split.")
@click.option(
    "--seed", default="0", show_default=True, metavar="TEXT", help="What the numbers of images in submissions hang on."
)
@click.option(
    "--private", multiple=True, metavar="SOURCE", help="A source whose own labels of these images nobody has."
)
@click.option("--exclude-implied", is_flag=True, help="Leave out images with truth that public labels imply.")
@dry_run_option
@report_options
def hidden(
    dataset: Path,
    output: Path | None,
    key: Path | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Withhold the labels of a split of the dataset DS, and keep them in a key.

    \b
      curate build hidden benchmark --split test -o public --key key
      curate evaluate submit --truth public --results run.json --team Us --model Ours --search-mode vision -o sent.json
      curate evaluate searchad --truth key --results sent.json

    What is published is the same whatever the hidden labels are; nothing of it refers to the key. What queries and
    support sets show of hidden images stays. Frames of public sources can be recovered, and so the labels that their
    sources publish: how much of the hidden truth these imply is said for each class (Q10). Labels of a source's own are
    taken to be public, unless the source is --private.
    """
    from curate import store

    if not dry_run and (output is None or key is None):
        raise UsageError("--key" if output else "--output", "is missing", "expected -o and --key, or --dry-run")
    for path, other in ((output, key), (key, output)):
        if path is None or other is None:
            continue
        if path.resolve() == other.resolve() or path.resolve() in other.resolve().parents:
            raise UsageError(
                other, f"is the output, or lies in {path}", hint="keep the key away from what is published"
            )
        store.ready_to_write(path, overwrite=overwrite, inputs=[dataset])
    from curate.build.hidden import build_hidden

    made = build_hidden(store.read(dataset), **options)
    written = {}
    if output is not None and key is not None and not dry_run:
        # The key first: what is public without a key can be scored by nobody.
        written = {
            name: store.write(part, path, overwrite=overwrite).fingerprint
            for name, part, path in (("key", made.key, key), ("public", made.public, output))
        }
    steps = made.key.info.command.steps if made.key.info.command else ()
    result = {
        "output": str(output) if written else None,
        "key": str(key) if written else None,
        "fingerprint": written.get("public"),
        "key_fingerprint": written.get("key"),
        "steps": steps,
        "shares": [share._asdict() for share in made.shares],
        "findings": made.key.problems,
    }
    lines = [f"{step.what}: {_counts(step.counts)}" for step in steps]
    lines += [f"{one.severity} {one.code} {one.where}: {one.message}" for one in made.key.problems[:_SHOWN]]
    if len(made.key.problems) > _SHOWN:
        lines.append(f"{len(made.key.problems) - _SHOWN:,} more findings lie with the key")
    for name, path, part in (("public", output, made.public), ("key", key, made.key)):
        lines.append(f"{path if written else f'nothing written; the {name} part would be'}: {_counts(part.counts())}")
    show_result(result, "\n".join(lines), as_json=as_json, quiet=quiet)


def _ready(path: Path, output: Path | None, *, overwrite: bool, dry_run: bool) -> tuple[Dataset, Any]:
    """The dataset to build from, and what to do with the one that is built: write it, unless in a dry run, and show."""
    from curate import store

    if output is None and not dry_run:
        raise UsageError("--output", "is missing", "expected -o and a folder to write, or --dry-run")
    if output is not None:
        store.ready_to_write(output, overwrite=overwrite, inputs=[path])

    def finish(built: Dataset, *, as_json: bool, quiet: bool) -> None:
        manifest = None if dry_run or output is None else store.write(built, output, overwrite=overwrite)
        steps = built.info.command.steps if built.info.command else ()
        result = {
            "output": str(output) if manifest else None,
            "fingerprint": manifest.fingerprint if manifest else None,
            "counts": built.counts(),
            "steps": steps,
            "findings": len(built.problems),
        }
        lines = [f"{step.what}: {_counts(step.counts)}" for step in steps]
        if built.problems:
            lines.append(
                f"{len(built.problems):,} findings, as in: {built.problems[0].where}: {built.problems[0].message}"
            )
        lines.append(f"{output if manifest else 'nothing written; it would be'}: {_counts(built.counts())}")
        show_result(result, "\n".join(lines), as_json=as_json, quiet=quiet)

    return store.read(path), finish


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())

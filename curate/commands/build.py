"""``curate build``: subsets, splits, support sets, hidden tests, and no leaks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from curate.commands.options import dataset_argument, output_options, report_options, root_option, show_result
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.dataset import Dataset

_SHOWN = 20  # findings of a hidden test that are listed
_TOLD = 10  # of any other dataset

dry_run_option = click.option("--dry-run", is_flag=True, help="Show what each step would leave, and write nothing.")

_LEAKS = click.Choice(["copy", "near", "embedding", "sequence", "place", "instance", "time"])


@click.group("build")
def command() -> None:
    """Make a dataset out of another: subsets, splits, support sets, hidden tests."""


@command.command("subset", short_help="Filter a dataset.")
@dataset_argument
@output_options("the subset", required=False)
@click.option(
    "--size",
    multiple=True,
    metavar="BOUND",
    help='Only annotations whose box is such a share of the image: "<0.15", ">=1%". Several must all hold.',
)
@click.option(
    "--area", multiple=True, metavar="BOUND", help='Only annotations whose box has such an area in px²: ">=400".'
)
@click.option(
    "--size-of",
    type=click.Choice(["box", "largest", "every", "total"]),
    default="box",
    show_default=True,
    help="Of the boxes of a class in an image: each for itself, the largest for all, all or none, or their sum.",
)
@click.option(
    "--spare-queries",
    is_flag=True,
    help="--size and --area leave alone what only queries and support show, such as VoxDet's views of an object.",
)
@click.option("--class", "classes", multiple=True, metavar="CLASS", help="Only annotations of this class.")
@click.option(
    "--supercategory", "supercategories", multiple=True, metavar="NAME", help="Also those of the classes below this."
)
@click.option("--source", "sources", multiple=True, metavar="SOURCE", help="Only images of this source.")
@click.option("--split", "splits", multiple=True, metavar="SPLIT", help="Only images of this split.")
@click.option(
    "--where",
    multiple=True,
    metavar="EXPR",
    help="Only what meets a condition, such as \"weather == 'fog' and h >= 20\". Several must all hold.",
)
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only images that say so: weather=fog, place=ulm, acdc.condition=rain; of annotations: annotation.NAME=VALUE.",
)
@click.option("--class-count", multiple=True, metavar="BOUND", help='Only classes with so many annotations: ">=10".')
@click.option(
    "--frequency",
    "frequencies",
    multiple=True,
    type=click.Choice(["easy", "medium", "hard", "singleton"]),
    help="Only instances shown more than 10 times (easy), 5 to 10, fewer than 5 (hard), or once.",
)
@click.option("--drop-empty", is_flag=True, help="Also drop images that are left without annotation.")
@click.option("--sample", metavar="N", help="So many images, or such a share of them: 1000, 10%.")
@click.option("--sample-per-class", type=click.IntRange(min=1), metavar="N", help="Of each class so many images.")
@click.option("--seed", default="0", show_default=True, metavar="TEXT", help="What a sample hangs on.")
@click.option(
    "--preset",
    type=click.Choice(["instre-xs", "instre-xxs"]),
    help="Small objects of INSTRE (below 15 %, at most 5 % of the image), with queries and gallery.",
)
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
      curate build subset all --area ">=400" --size-of largest --sample 10% -o some
      curate build subset instre --preset instre-xs -o xs

    The filters work in this order: source, split, attributes of and conditions on images, class, size, area, attributes
    of and conditions on annotations, count per class, frequency, emptied images, samples, preset. The counts after each
    are shown, and kept in dataset.json.

    --size compares w*h / (W*H); an annotation without box passes no bound. --split is that of this dataset, or of the
    source where this dataset has none. An image that loses an annotation to anything but its class is no longer a
    negative of that class: a row of the table coverage says so. A sample is the same on every machine, and part of any
    larger one with the same --seed.
    """
    read, finish = _ready(dataset, output, overwrite=overwrite, dry_run=dry_run)
    from curate.build.subset import build_subset

    finish(build_subset(read, **filters), as_json=as_json, quiet=quiet)


@command.group("split")
def split() -> None:
    """Divide a dataset."""


@split.command("query-gallery", short_help="Choose queries and their gallery.")
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
    type=click.Choice(["largest", "cleanest", "first"]),
    help="Which annotations become queries: the largest, the cleanest masks, or the first by id.  [default: largest]",
)
@click.option(
    "--kind",
    type=click.Choice(["box", "mask", "image", "text"]),
    help="What of the image is the query; text: words for each target, and no image.  [default: box]",
)
@click.option(
    "--queries",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A text file with ids of annotations, one a line: these become the queries.",
)
@click.option(
    "--unjudged",
    type=click.Choice(["report", "ignore", "drop"]),
    default="report",
    show_default=True,
    help="Gallery images of which nobody knows whether they answer a query: count them for each query, pass them over"
    " for that query, or leave them out of the gallery.",
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
    queries: Path | None,
    **options: Any,
) -> None:
    """Choose queries in the dataset DS, and the gallery that is searched for them.

    \b
      curate build split query-gallery kitti --target category -o benchmark
      curate build split query-gallery voxdet -o soir
      curate build split query-gallery all --kind text --target category --unjudged drop -o words

    Every query has a positive in the gallery; a target that cannot have such a query gets none and is reported. A
    dataset that has queries keeps them, checked, unless an option asks for others.
    """
    read, finish = _ready(dataset, output, overwrite=overwrite, dry_run=dry_run)
    from curate.build.split import build_split

    given = [line.strip() for line in _text(queries).splitlines() if line.strip()] if queries else []
    if queries and not given:
        raise UsageError(queries, "names no annotation", "expected ids, one a line")
    finish(build_split(read, given=given, **options), as_json=as_json, quiet=quiet)


def _text(path: Path) -> str:
    from curate.regular import read_regular

    try:
        return read_regular(path, "expected a text file").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(path, f"is no UTF-8 text (byte {error.start})", "expected ids, one a line") from None


@split.command("train-val-test", short_help="Divide by group, rare classes everywhere.")
@dataset_argument
@output_options("the divided dataset", required=False)
@click.option(
    "--share",
    "shares",
    multiple=True,
    metavar="SPLIT=SHARE",
    help="The splits, with their share of the images.  [default: train=0.7, val=0.15, test=0.15]",
)
@click.option(
    "--group",
    type=click.Choice(["sequence", "place", "none"]),
    default="sequence",
    show_default=True,
    help="Images that share it go to one split.",
)
@click.option(
    "--assign",
    multiple=True,
    metavar="SOURCE=SPLIT,...",
    help="Images of this source, or SOURCE/SPLIT as found there, go only to these splits.",
)
@click.option("--seed", default="0", show_default=True, metavar="TEXT", help="What decides between equals.")
@click.option("--strict", is_flag=True, help="Fail where a class is not in every split.")
@dry_run_option
@report_options
def train_val_test(
    dataset: Path,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    shares: tuple[str, ...],
    assign: tuple[str, ...],
    **options: Any,
) -> None:
    """Divide the dataset DS into train, val and test: groups stay whole, and rare classes are spread first.

    \b
      curate build split train-val-test all --share train=0.8 --share test=0.2 -o divided
      curate build split train-val-test all --assign kitti=train --assign cityscapes/val=val,test -o divided

    Every class stands in every split as far as its groups allow; one that does not is reported (Q11), with the reason.
    """
    read, finish = _ready(dataset, output, overwrite=overwrite, dry_run=dry_run)
    from curate.build.partition import build_partition

    parts = {name: _number("--share", text, name) for name, text in _once("--share", shares).items()}
    assigned = {key: text.partition("=")[2].split(",") for key, text in _once("--assign", assign).items()}
    finish(build_partition(read, shares=parts, assign=assigned, **options), as_json=as_json, quiet=quiet)


def _once(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """The values of an option by what stands before their =, which none may share."""
    found: dict[str, str] = {}
    for text in texts:
        name = text.partition("=")[0]
        if name in found:
            raise UsageError(f"{option} {text}", f"{name!r} stands in {found[name]!r} too", "expected each once")
        found[name] = text
    return found


def _number(option: str, text: str, name: str) -> float:
    try:
        return float(text.removeprefix(f"{name}="))
    except ValueError:
        raise UsageError(f"{option} {text!r}", "is no share", "expected for example train=0.8") from None


@command.command("support", short_help="Examples of each class.")
@dataset_argument
@output_options("the dataset with support sets", required=False)
@click.option(
    "-n", "--number", type=click.IntRange(min=1), default=5, show_default=True, help="Pictures for each target."
)
@click.option(
    "--target",
    type=click.Choice(["instance", "category"]),
    help="What the examples are of.  [default: as the queries ask, else instance, where the dataset has any]",
)
@click.option("--from", "from_splits", multiple=True, metavar="SPLIT", help="Take examples from this split.")
@click.option(
    "--group",
    type=click.Choice(["sequence", "place", "none"]),
    default="sequence",
    show_default=True,
    help="No example shares it with the gallery.",
)
@click.option("--min-area", type=click.FloatRange(min=0), metavar="PX", help="Smaller boxes, in px², are no examples.")
@click.option("--template", "templates", multiple=True, metavar="TEXT", help='A text for each: "a photo of a {}".')
@click.option("--seed", default="0", show_default=True, metavar="TEXT", help="What the choice hangs on.")
@dry_run_option
@report_options
def support(
    dataset: Path,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Give each class or instance of the dataset DS a few examples: boxes in pictures, and words.

    \b
      curate build support searchad --from train --template "a photo of a {}" -o with_support

    Examples are spread over sources and sizes. They stand in no gallery, nor does their sequence or a copy of them: in
    a dataset without gallery, all images but those of --from are searched; without --from examples leave it.
    """
    read, finish = _ready(dataset, output, overwrite=overwrite, dry_run=dry_run)
    from curate.build.support import build_support

    finish(build_support(read, **options), as_json=as_json, quiet=quiet)


@command.command("leakage", short_help="Find or mend what two sides share.")
@dataset_argument
@output_options("the dataset without leaks", required=False)
@click.option("--look", type=_LEAKS, multiple=True, help="Look for this kind.  [default: copy, sequence]")
@click.option(
    "--forbid",
    type=_LEAKS,
    multiple=True,
    help="Look for this kind, and fail if there is any, or if that there is none cannot be proved.",
)
@click.option(
    "--allow-unproved", is_flag=True, help="Let --forbid pass where nothing is found, and too little is known."
)
@click.option(
    "--between",
    type=click.Choice(["roles", "splits"]),
    help="Look between queries and gallery, or between splits.  [default: both, where the dataset has both]",
)
@click.option(
    "--fix",
    type=click.Choice(["drop", "move"]),
    help="Take images that leak out of the gallery; between splits, drop them or move them together.",
)
@click.option("--before", metavar="DATE", help="For time: distractors must be older, instances as young or younger.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes, for near.")
@click.option(
    "--embeddings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For embedding: an .npz or .parquet file of id and vector.",
)
@click.option(
    "--min-cosine", type=click.FloatRange(0, 1, min_open=True), default=0.95, show_default=True, help="For embedding."
)
@click.option(
    "--index",
    type=click.Choice(["exact", "faiss"]),
    default="exact",
    show_default=True,
    help="How splits are searched for embedding: faiss is quicker, and may miss some.",
)
@root_option
@dry_run_option
@report_options
def leakage(
    dataset: Path,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    jobs: int,
    roots: dict[str, str],
    embeddings: Path | None,
    min_cosine: float,
    index: Literal["exact", "faiss"],
    **options: Any,
) -> None:
    """Look for what stands on both sides of the dataset DS: its queries and gallery, and its splits.

    \b
      curate build leakage benchmark --dry-run
      curate build leakage benchmark --forbid copy --forbid near -j 4 -o checked
      curate build leakage divided --look sequence --look near --fix move -o sound
      curate build leakage benchmark --look embedding --embeddings dino.npz --fix drop -o sound

    Kinds: copy (equal SHA-256), near (near-duplicate pictures, which are read), embedding (vectors of a file, with a
    cosine of --min-cosine or more), sequence, place, instance (between splits), time (distractors that may be younger
    than what is searched for). A fix is of one kind of sides. What it does is listed, and which queries find nothing
    but copies of themselves.
    """
    read, finish = _ready(dataset, output, overwrite=overwrite, dry_run=dry_run)
    from curate.build import embeddings as vectors
    from curate.build import near
    from curate.build.leakage import build_without_leaks

    wanted = (*options["look"], *options["forbid"])
    if ("embedding" in wanted) != (embeddings is not None):
        found = "is missing" if embeddings is None else "is given, and nobody looks at it"
        raise UsageError("--embeddings", found, "expected together with --look embedding or --forbid embedding")
    linked = dict[str, Any]()
    if embeddings is not None:
        given = vectors.read_vectors(embeddings)
        linked["embedding"] = vectors.clusters(
            read, given, min_cosine=min_cosine, index=index, between=options["between"]
        )
        linked["made_by"] = {"embeddings": given.sha256, "min-cosine": min_cosine, "index": index}
    if roots and "near" not in wanted:
        raise UsageError("--root", "is given, and nobody looks at pictures", "expected --look near or --forbid near")
    if "near" in wanted:
        linked["near"] = near.clusters(read, roots=roots, jobs=jobs)
    finish(build_without_leaks(read, **linked, **options), as_json=as_json, quiet=quiet)


@command.command("hidden", short_help="Withhold the labels of a split.")
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

    What is published is the same whatever the hidden labels are; nothing of it refers to the key. What a query or a
    support set shows is public, and nothing else of its image: one that is searched too is passed over for whoever asks
    for what it is known to show. Queries that no hidden image answers are left out of the key. Frames of public sources
    can be recovered, and so the labels that their sources publish: how much of the hidden truth these imply is said for
    each class (Q10). Labels of a source's own are taken to be public, unless the source is --private.
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
    lines += _findings(made.key, _SHOWN)
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
            "findings": built.problems,
        }
        lines = [f"{step.what}: {_counts(step.counts)}" for step in steps]
        lines += _findings(built, _TOLD)
        if len(built.problems) > _TOLD:
            rest = "--json lists them" if as_json or not manifest else f"{output}/problems.jsonl has them"
            lines.append(f"{len(built.problems) - _TOLD:,} more findings; {rest}")
        lines.append(f"{output if manifest else 'nothing written; it would be'}: {_counts(built.counts())}")
        show_result(result, "\n".join(lines), as_json=as_json, quiet=quiet)

    return store.read(path), finish


def _findings(built: Dataset, most: int) -> list[str]:
    return [f"{one.severity} {one.code} {one.where}: {one.message}" for one in built.problems[:most]]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())

"""``curate verify``: check a dataset, or a file or folder in a foreign format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.commands.options import (
    check_new_file,
    check_report_file,
    jobs_option,
    progress,
    report_options,
    root_option,
    show_result,
    workers,
    write_report,
)
from curate.errors import CurateError, UsageError

if TYPE_CHECKING:
    from curate.dataset import Dataset
    from curate.model import Finding


def _words(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in value.replace(",", " ").split()]


@click.command("verify")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--level",
    type=click.Choice(["quick", "full", "deep"]),
    default="full",
    show_default=True,
    help="quick: tables, names, head and end of image files; full: also boxes, masks, hashes, queries; deep: also "
    "decode every image, and make the exports of a release again.",
)
@click.option("--only", multiple=True, callback=_words, metavar="CODES", help="Only these rules, as M04 or B,M,R09.")
@click.option("--skip", multiple=True, callback=_words, metavar="CODES", help="Not these rules.")
@click.option(
    "--report", "report_file", type=click.Path(path_type=Path), help="Also write the report to this JSON file."
)
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write a page with plots and examples.")
@click.option(
    "--repair",
    "mend",
    is_flag=True,
    help="Mend what needs no decision: the mended dataset goes to -o, every change into its problems.jsonl.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write the mended dataset.")
@click.option("--overwrite", is_flag=True, help="Replace an existing --html file or -o dataset.")
@click.option(
    "--severities",
    "severities_file",
    type=click.Path(path_type=Path),
    help="TOML file that raises or lowers what rules count as; the report says so.",
)
@root_option
@jobs_option
@report_options
def command(
    path: Path,
    level: str,
    only: list[str],
    skip: list[str],
    report_file: Path | None,
    html_file: Path | None,
    mend: bool,
    output: Path | None,
    overwrite: bool,
    severities_file: Path | None,
    roots: dict[str, str],
    jobs: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Check PATH: a dataset, or a file or folder in a foreign format. Exit code 1 if there is an error.

    \b
      curate verify kitti
      curate verify instances.json --root coco=images --level deep -j 0
      curate verify anns.pt --only A,Q --report report.json
      curate verify kitti --html kitti.html
      curate verify kitti --repair -o mended

    What PATH is, is told by its content: a dataset or release folder, COCO JSON, an anns.pt, VOC XML, ground truth of
    revisitop (.pkl), a SearchAD folder, Label Studio's JSON, pictures, or a .zip or .tar of anything, of which the
    members are checked and nothing is unpacked. Nothing is changed. Images are looked at where their folder is known:
    from the dataset, or by --root; the report says which rules could not be run, and why.
    """
    from curate import store
    from curate.verify import Report, severities, unreadable, verify
    from curate.verify import report as reports

    if report_file is not None:
        check_report_file(report_file, Report, "verify", path)
    if html_file is not None:
        check_new_file(html_file, overwrite, path)
    _check_repair(path, mend=mend, output=output, overwrite=overwrite)
    changed = severities.read(severities_file) if severities_file else {}
    noticed: list[Finding] = []
    target: Dataset | Path | None = path
    if store.is_dataset(path):
        target, noticed = _open(path)
    changes = ""
    if mend and output is not None and target is not None:
        target, noticed, changes = _mended(target, output, roots, overwrite=overwrite)
        path = output
    if target is None:
        result = unreadable(str(path), noticed, level)  # type: ignore[arg-type]
    else:
        with progress("verify", quiet=quiet) as tell:
            result = verify(
                target,
                level=level,  # type: ignore[arg-type]
                only=only,
                skip=skip,
                roots=roots,
                jobs=workers(jobs),
                name=str(path),
                noticed=noticed,
                severities=changed,
                rebuild=_differences,
                progress=tell,
            )
    if report_file is not None:
        write_report(result, report_file)
    if html_file is not None:
        from curate.atomic import atomic_file
        from curate.dataset import Dataset
        from curate.pages.verification import draw_page

        page = draw_page(result, target if isinstance(target, Dataset) else None, roots=roots)
        with atomic_file(html_file, overwrite=overwrite) as stream:
            stream.write(page.encode("utf-8", "backslashreplace"))
    if quiet and result.errors and not as_json:
        click.echo(reports.text(result, only_errors=True))
    show_result(result, changes + reports.text(result), as_json=as_json, quiet=quiet)
    return 1 if result.errors else 0


def _differences(path: Path) -> Iterable[Finding]:
    from curate.releasing.rebuilding import differences

    return differences(path)


def _open(path: Path) -> tuple[Dataset | None, list[Finding]]:
    """The dataset in the folder ``path``, None if it cannot be read; and what is wrong with its files."""
    from curate import store
    from curate.model import finding
    from curate.verify import folder

    noticed = folder(path)
    if any(one.severity == "error" for one in noticed):
        return None, noticed
    try:
        return store.read(path), noticed
    except CurateError as error:
        message = "; ".join(filter(None, [error.found, error.expected]))
        return None, [*noticed, finding("F04", error.where, message, hint=error.hint or None)]


def _check_repair(path: Path, *, mend: bool, output: Path | None, overwrite: bool) -> None:
    from curate import store

    if mend != (output is not None):
        found = "--repair was given without -o" if mend else "-o was given without --repair"
        raise UsageError("verify", found, "expected both: nothing is changed in place")
    if output is not None:
        if not store.is_dataset(path):
            hint = "import it first: only a dataset is mended"
            raise UsageError(path, "is no dataset folder", "expected one to mend", hint)
        store.ready_to_write(output, overwrite=overwrite, inputs=[path])


def _mended(
    target: Dataset | Path, output: Path, roots: dict[str, str], *, overwrite: bool
) -> tuple[Dataset, list[Finding], str]:
    """Mend ``target``, write it, and say what was done: the dataset as written, findings on its files, lines."""
    from curate import store
    from curate.dataset import Dataset
    from curate.verify import report as reports
    from curate.verify.repair import repair

    assert isinstance(target, Dataset)  # the folder was checked to be one
    dataset, changes = repair(target, roots=roots)
    store.write(dataset, output, overwrite=overwrite)
    lines = [f"{len(changes):,} change{'' if len(changes) == 1 else 's'}, all listed in {output / store.PROBLEMS}"]
    lines = lines if changes else ["nothing to mend"]
    lines += [f"  {one.code} {reports.line(one)}" for one in changes[: reports.PRINTED]]
    if len(changes) > reports.PRINTED:
        lines.append(f"  ... and {len(changes) - reports.PRINTED:,} more")
    return dataset, [], "\n".join(lines) + "\n"

"""``curate run``: a whole benchmark from one file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.commands.options import jobs_option, pairs, report_options, show_result, table, workers
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.recipe.reading import Plan
    from curate.recipe.running import Task, Told
    from curate.recipe.steps import Option


@click.command("run")
@click.argument("recipe", required=False, metavar="NAME|FILE")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The folder for what the steps write.")
@click.option("--list", "as_list", is_flag=True, help="List the recipes, with the raw downloads that each needs.")
@click.option("--show", is_flag=True, help="Print the recipe: what it does, and to copy and change.")
@click.option("--dry-run", is_flag=True, help="Say which steps would run and why, and run none; --root may be missing.")
@click.option(
    "--root",
    "roots",
    multiple=True,
    metavar="NAME=PATH",
    callback=lambda ctx, param, values: pairs(values, "--root"),
    help="Where a raw download lies, by the name that the recipe has for it; once for each.",
)
@jobs_option
@report_options
def command(
    recipe: str | None,
    output: Path | None,
    as_list: bool,
    show: bool,
    dry_run: bool,
    roots: dict[str, str],
    jobs: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a benchmark by the recipe NAME, or the one in FILE, from raw downloads.

    \b
      curate run --list
      curate run instre-xs --show
      curate run instre-xs --root instre=raw/instre -o xs
      curate run mine.yaml --root kitti=raw/kitti -o mine --dry-run

    A recipe is a list of commands. Each writes into the output folder, under its step's name, what the next ones read;
    run.json there tells what each was made of. A step is passed over where its output is there and was made of the
    same: command and options, raw files, inputs, version of curate. After a change, or when it was killed, the same
    command does what is left to do.
    """
    from curate.recipe import reading, running

    if as_list and show:
        raise UsageError("--list, --show", "were given together", "expected one of them", "for --show name a recipe")
    given = {"a recipe": recipe, "--output": output, "--dry-run": dry_run, "--root": roots}
    if as_list and (beside := [name for name, value in given.items() if value]):
        found = f"was given together with {', '.join(beside)}"
        raise UsageError("--list", found, "expected it alone", "for one recipe give its name and --show or --dry-run")
    if as_list:
        _list(as_json=as_json, quiet=quiet)
        return
    if recipe is None:
        raise UsageError(
            "curate run", "was given no recipe", f"expected a file, or one of {', '.join(reading.names())}"
        )
    if output is None and not dry_run and not show:
        raise UsageError("--output", "is missing", "expected -o and a folder to write into, or --dry-run")
    plan = reading.read(recipe, RecipeCommands())
    if show:
        show_result(plan.recipe, plan.text.rstrip("\n"), as_json=as_json, quiet=quiet)
        return
    if dry_run:
        _dry_run(plan, roots, output, as_json=as_json, quiet=quiet)
        return
    folders = running.check_roots(plan, roots)
    assert output is not None
    silent = as_json or quiet
    width = max(len(step.name) for step in plan.steps)
    done = running.run(
        plan,
        folders,
        output,
        RecipeCommands(),
        jobs=workers(jobs),
        begin=lambda task: None if silent else _say(f"{task.step.name}: {task.command}"),
        tell=lambda told: None if silent else click.echo(f"{told.task.step.name.ljust(width)}  {_line(told)}"),
    )
    steps = [_values(one.task, "ran" if one.ran else "passed over", one.counts) for one in done]
    result = {"output": str(output), "recipe": plan.name, "steps": steps}
    ran = sum(one.ran for one in done)
    text = f"{output}: {ran} steps ran, {len(done) - ran} passed over"
    show_result(result, text, as_json=as_json, quiet=quiet)


def _dry_run(plan: Plan, roots: dict[str, str], output: Path | None, *, as_json: bool, quiet: bool) -> None:
    from curate.recipe import running

    folders, missing = running.given_roots(plan, roots)
    tasks = running.look(plan, folders, output)
    rows: list[tuple[object, ...]] = [(one.step.name, one.reason or "is made already", one.command) for one in tasks]
    outcomes = {True: "would run", False: "would be passed over", None: "may run"}
    steps = [_values(one, outcomes[one.would_run]) for one in tasks]
    result: dict[str, Any] = {"output": str(output) if output else None, "recipe": plan.name, "steps": steps}
    lines = [table(rows, ("step", "why", "command"))]
    if missing:
        result["roots_missing"] = {name: plan.recipe.roots[name] for name in missing}
        lines += ["", "to run this:", *(one.line for one in missing.values())]
    show_result(result, "\n".join(lines), as_json=as_json, quiet=quiet)


def beside(recipe: Path) -> list[str]:
    """The files that the recipe in ``recipe`` reads beside it, as it names them.

    Raises:
        UsageError: it is no recipe, or one with faults.
    """
    from curate.recipe import reading

    plan = reading.read_file(recipe, f"--recipe {recipe}", RecipeCommands())
    own = recipe.absolute()
    return sorted({text for step in plan.steps for _, text, file in step.files if file.absolute() != own})


def _say(text: str) -> None:
    """What is being done, for who watches."""
    if sys.stderr.isatty():
        click.echo(text, err=True)


def _line(told: Told) -> str:
    counts = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in told.counts.items())
    return f"{'ran' if told.ran else 'passed over'}{f' ({told.task.reason})' if told.ran else ''}: {counts}".rstrip(
        ": "
    )


def _values(task: Task, outcome: str, counts: dict[str, int] | None = None) -> dict[str, Any]:
    values = {"name": task.step.name, "command": task.command, "outcome": outcome, "reason": task.reason}
    return values if counts is None else {**values, "counts": counts}


def _list(*, as_json: bool, quiet: bool) -> None:
    from curate.recipe import reading

    plans: dict[str, Plan] = {name: reading.read(name, RecipeCommands()) for name in reading.names()}
    rows: list[tuple[object, ...]] = [
        (name, ", ".join(plan.recipe.roots), plan.recipe.title) for name, plan in plans.items()
    ]
    found = {name: {"title": plan.recipe.title, "roots": plan.recipe.roots} for name, plan in plans.items()}
    show_result(found, table(rows, ("recipe", "roots", "what")), as_json=as_json, quiet=quiet)


class RecipeCommands:
    """The command line as recipes need it (``curate.recipe.steps.Commands``)."""

    def options(self, words: Sequence[str]) -> dict[str, Option]:
        from curate.recipe.steps import Option

        found = {}
        for one in _find(words).params:
            for name in one.opts if isinstance(one, click.Option) else ():
                if isinstance(one, click.Option) and name.startswith("--"):
                    choices = tuple(one.type.choices) if isinstance(one.type, click.Choice) else ()
                    found[name[2:]] = Option(one.is_flag, one.multiple, isinstance(one.type, click.Path), choices)
        return found

    def check(self, arguments: Sequence[str]) -> None:
        words = _words(arguments)
        try:
            _find(words).make_context("curate", list(arguments[len(words) :]))
        except click.MissingParameter as error:
            name = error.param.opts[-1] if isinstance(error.param, click.Option) else ""
            raise UsageError("", f"{name} is missing", "expected it among the options") from None
        except click.BadParameter as error:
            name = error.param.opts[-1] if isinstance(error.param, click.Option) else ""
            raise UsageError(name, error.message) from None
        except click.UsageError as error:
            raise UsageError("", error.format_message()) from None

    def call(self, arguments: Sequence[str]) -> tuple[int, Any]:
        import contextlib
        import io
        import json

        from curate.commands import cli

        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = cli.main([*arguments, "--json"], prog_name="curate", standalone_mode=False)
        text = printed.getvalue()
        return code if isinstance(code, int) else 0, json.loads(text) if text.strip() else None


def _words(arguments: Sequence[str]) -> Sequence[str]:
    """The words at the beginning of a command line that name the command."""
    from curate.recipe.steps import KINDS

    return next(kind.words for kind in KINDS if tuple(arguments[: len(kind.words)]) == kind.words)


def _find(words: Sequence[str]) -> click.Command:
    from curate.commands import cli

    found: click.Command = cli
    for word in words:
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None, words
        found = inner
    return found

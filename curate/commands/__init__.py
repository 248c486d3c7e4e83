"""The command line: one module per verb, loaded when it is used.

A command parses its options, calls the library and prints; nothing else. Errors that a user can cause become one line
each on stderr and an exit code: 1 the data is bad or the work failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import warnings
from importlib import import_module
from typing import NoReturn

import click

from curate.errors import CurateError, did_you_mean, printable

# Verb -> what 'curate --help' says of it. The module curate/commands/<verb>.py holds the command of that name.
VERBS = {
    "sources": "List the sources, or all about one: licence, download, expected tree.",
    "import": "Raw download -> dataset.",
    "info": "Counts, classes, sizes, splits and lineage of a dataset.",
    "merge": "Union of datasets, joined on ids.",
    "relabel": "Labels of all sources in one taxonomy.",
    "build": "Subsets, query/gallery splits, hidden tests.",
    "export": "Dataset -> COCO, anns.pt and the formats of benchmarks.",
    "verify": "Check a dataset, a release, or files in foreign formats.",
    "release": "Dataset -> verified release folder: data card, exports, licences, checksums.",
    "prelabel": "Masks for boxes, in bulk, as proposals for review.",
    "review": "Rounds of annotation and inspection in Label Studio.",
    "evaluate": "Score ranked lists by a benchmark's own metric.",
    "run": "A whole benchmark from one file: a recipe of commands.",
    "show": "Contact sheets: pictures with their boxes and masks.",
    "demo": "The tour: raw downloads to a verified benchmark, on drawn scenes.",
}


class _Verbs(click.Group):
    """A group that imports a verb's module only when that verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"{__name__}.{cmd_name}_" if cmd_name == "import" else f"{__name__}.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}. {did_you_mean(args[0], VERBS).capitalize()}".rstrip())
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"curate {version('curate')}")
        ctx.exit()


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Turn raw image downloads into a released, verified retrieval benchmark.

    There is one noun, the dataset: a folder with a few tables. Every command reads one folder and writes another.

    \b
      curate import kitti data/kitti -o kitti
      curate build subset kitti --size "<0.15" -o small
      curate export coco small -o small.json
      curate verify small
    """
    ctx.obj = {"debug": debug}


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of large pictures, odd EXIF and palettes: nothing to be done
    debug = "--debug" in sys.argv[1:]
    stdout = sys.stdout
    for stream in (stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no failure
    try:
        result = cli.main(standalone_mode=False)
        _flush()
        sys.exit(result if isinstance(result, int) else 0)
    except CurateError as error:
        if debug:
            raise
        first, rest = error.lines[:_SHOWN], error.lines[_SHOWN:]
        _say(*first, *([f"and {len(rest):,} more like these"] if rest else []))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort, EOFError):
        if debug:
            raise
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # pressed again, it ends us at once and without a traceback
        _say("interrupted; nothing half-written was left; run the same command again")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone ('curate info | head'): not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except SystemExit as end:
        # click notices the same and puts a mute stream in stdout's place, but calls it a failure.
        sys.exit(0 if sys.stdout is not stdout else end.code)
    except ModuleNotFoundError as error:
        from curate.commands.options import EXTRAS

        package = (error.name or "").partition(".")[0]
        if debug or package not in EXTRAS:
            raise
        _say(f"{package} is not installed; this command needs it; install it: pip install 'curate[{EXTRAS[package]}]'")
        sys.exit(1)
    except UnicodeEncodeError as error:
        if debug or not any("\ud800" <= c <= "\udfff" for c in error.object):
            raise
        _say(f"{error.object}: is not UTF-8 text; expected names in UTF-8; rename it, or reach it through a link")
        sys.exit(1)
    except OSError as error:
        if debug or error.errno not in _HINTS:
            raise
        _say(f"{error.filename or 'output'}: {os.strerror(error.errno)}; {_HINTS[error.errno]}")
        sys.exit(1)


_SHOWN = 40  # lines of an error; a fault of the whole download would fill the screen thousands of times
_HINTS = {
    errno.ENOSPC: "free some space, or write elsewhere, and run the command again",
    errno.EDQUOT: "free some space, or write elsewhere, and run the command again",
    errno.EFBIG: "the file system or a limit allows no larger file; write elsewhere",
    errno.EROFS: "write elsewhere",
    errno.EACCES: "check the permissions, or name another place",
    errno.EPERM: "check the permissions, or name another place",
    errno.ENOTDIR: "a part of the path is a file; name another place",
    errno.EEXIST: "a part of the path is a file; name another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the path",
    errno.ELOOP: "the path is a circle of links",
    errno.EIO: "the disk reports an error; copy the data elsewhere",
    errno.EMFILE: "raise the limit on open files ('ulimit -n')",
}


def _say(*lines: str) -> None:
    for line in lines:
        print(f"curate: {printable(line)}", file=sys.stderr)


def _flush() -> None:
    sys.stdout.flush()

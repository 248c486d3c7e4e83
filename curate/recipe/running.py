"""Doing a recipe: which steps are done already, and the others in their order.

``DIR/run.json`` tells of every step what its output was made of: the command and its options, curate itself, the raw
downloads, files and inputs that it read, each by a mark (``marks``); and the mark of the output. A step is passed over
if all of these are as they were. Since an input's mark is that of what it was made of, a change at the beginning is a
change of all that follows.

Steps run in this process, in the folder of the outputs. A step that ends early leaves nothing, or its old output; the
next run takes it up again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from curate.atomic import atomic_file
from curate.errors import CurateError, UsageError
from curate.recipe import marks
from curate.recipe.reading import Plan, refuse
from curate.recipe.records import RECORD, Made, Record
from curate.recipe.steps import Bound, Commands, arguments, is_report, typed

_SHOWN = 5  # findings of a check that failed
_UNKNOWN = ""  # the mark of a root that was not given, and of all that hangs on it
_NEW = "not made yet"


class Task(NamedTuple):
    """A step, what it hangs on, and why it has to run: None if it need not."""

    step: Bound
    command: str
    made_of: dict[str, str]
    reason: str | None

    @property
    def outputs(self) -> list[str]:
        return [self.step.name, *(name for _, name in self.step.outputs)]

    @property
    def unknown(self) -> list[str]:
        """What it hangs on that was not given."""
        return [what for what, mark in self.made_of.items() if mark == _UNKNOWN]

    @property
    def would_run(self) -> bool | None:
        """None if that cannot be told."""
        return None if self.unknown and self.reason != _NEW else self.reason is not None


class Told(NamedTuple):
    """A step that was done or passed over."""

    task: Task
    ran: bool
    counts: dict[str, int]


def check_roots(plan: Plan, given: Mapping[str, str]) -> dict[str, str]:
    """The folder of each root of the recipe, absolute.

    Raises:
        UsageError: one is missing, is no folder, or is none of the recipe's.
    """
    found, missing = given_roots(plan, given)
    refuse([*missing.values()])
    return found


def given_roots(plan: Plan, given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, UsageError]]:
    """The folders of the roots that are there, absolute, and of each other one what is wrong.

    Raises:
        UsageError: one is none of the recipe's; what is wrong with the others is told with it.
    """
    known, faults = plan.recipe.roots, []
    missing: dict[str, UsageError] = {}
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else ""
            faults.append(
                UsageError(f"--root {name}", f"{plan.name} has no such root", f"expected {', '.join(known)}", hint)
            )
    for name, what in known.items():
        if name not in given:
            missing[name] = UsageError(f"--root {name}=PATH", "is missing", f"expected {what}")
        elif not Path(given[name]).exists():
            missing[name] = UsageError(f"--root {name}={given[name]}", "is not there", f"expected {what}")
    if faults:
        refuse([*faults, *missing.values()])
    return {name: str(Path(given[name]).absolute()) for name in known if name not in missing}, missing


def look(plan: Plan, roots: Mapping[str, str], folder: Path | None) -> list[Task]:
    """What there is to do for ``plan`` in ``folder``, in order; nothing is changed.

    Args:
        roots: folder of each root, as :func:`check_roots` gives them; whether what hangs on another one has to run
            again is then unknown.
        folder: of the outputs; None for one that is still empty.

    Raises:
        UsageError: the folder holds something else, or an output's place is taken.
    """
    for name, root in roots.items():
        if folder is not None and folder.resolve().is_relative_to(Path(root).resolve()):
            raise UsageError(folder, f"lies in the root {name}, {root}", hint="name a folder outside the raw downloads")
    record = _record(plan, folder)
    of_roots = dict.fromkeys(plan.recipe.roots, _UNKNOWN)
    of_roots |= {name: marks.of_input(Path(path)) for name, path in roots.items()}
    made_of: dict[str, str] = {}  # output -> mark of what it was made of
    tasks, taken = [], []
    for step in plan.steps:
        hangs_on = _hangs_on(step, of_roots, made_of)
        task = Task(step, in_words(step), hangs_on, None)
        whole = marks.of_texts(part for pair in hangs_on.items() for part in pair)
        whole = _UNKNOWN if _UNKNOWN in hangs_on.values() else whole
        made_of.update(dict.fromkeys(task.outputs, whole))
        before = record.steps.get(step.name)
        if folder is not None:
            taken += _taken(task, before, folder)
        tasks.append(task._replace(reason=_reason(task, before, folder)))
    refuse(taken)
    return tasks


def _record(plan: Plan, folder: Path | None) -> Record:
    left = {f".{RECORD}.partial"}  # by a run that was killed as it began
    if folder is None or not folder.exists() or (folder.is_dir() and {one.name for one in folder.iterdir()} <= left):
        return Record(recipe=plan.name, steps={})
    file = folder / RECORD
    try:
        record = msgspec.json.decode(file.read_bytes(), type=Record)
    except (FileNotFoundError, NotADirectoryError):
        hint = "name a folder that is not there yet, or that an earlier run made"
        raise UsageError(folder, f"already exists and holds no {RECORD}", hint=hint) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(file, f"is damaged: {error}", "expected what 'curate run' wrote there") from None
    if record.recipe != plan.name:
        found = f"holds what the recipe {record.recipe} makes"
        hint = f"name another folder, or go on here with a copy that is called {record.recipe}.yaml"
        raise UsageError(folder, found, f"expected that of {plan.name}", hint)
    return record


def _hangs_on(step: Bound, roots: Mapping[str, str], made_of: Mapping[str, str]) -> dict[str, str]:
    """What the output of a step hangs on, and the mark of each."""
    found = {"its command or options": marks.of_texts(typed(step)), "curate": marks.of_code()}
    named = [name for name in [step.root, *(root for _, root in step.image_roots)] if name is not None]
    found |= {f"the root {name}": roots[name] for name in named}
    found |= {f"the file {text}": marks.of_input(path) for _, text, path in step.files}
    return found | {f"the input {name}": made_of[name.partition("/")[0]] for name in step.inputs}


def in_words(step: Bound) -> str:
    """The command of a step as it is typed, with roots by name."""
    return f"curate {shlex.join(typed(step))}"


def _taken(task: Task, before: Made | None, folder: Path) -> list[UsageError]:
    known = set(before.outputs) if before else set()
    hint = "move it away, or name another folder"
    where = f"step {task.step.name}"
    return [
        UsageError(folder / name, f"already exists, and was not made by {where}", hint=hint)
        for name in task.outputs
        if name not in known and os.path.lexists(folder / name)
    ]


def _reason(task: Task, before: Made | None, folder: Path | None) -> str | None:
    if before is None or folder is None:
        return _NEW
    if unknown := task.unknown:
        return f"cannot be told without {' and '.join(unknown[:2])}"
    changed = [what for what in task.made_of if before.made_of.get(what) != task.made_of[what]]
    changed += [what for what in before.made_of if what not in task.made_of]
    if changed:
        return f"{' and '.join(changed[:2])} changed"
    if set(before.outputs) != set(task.outputs):
        return "its outputs have other names"
    if None in before.outputs.values():
        return "was not finished"
    for name, mark in before.outputs.items():
        found = marks.of_output(folder / name)
        if found is None:
            return f"{name} is gone"
        if found != mark:
            return f"{name} was changed since"
    return None


def run(
    plan: Plan,
    roots: Mapping[str, str],
    folder: Path,
    commands: Commands,
    *,
    jobs: int = 1,
    begin: Callable[[Task], object] = lambda task: None,
    tell: Callable[[Told], object] = lambda told: None,
) -> list[Told]:
    """Do in ``folder`` what :func:`look` says is to be done.

    Args:
        jobs: local processes for the commands that can use them; no byte depends on it.
        begin: told of each step before it runs; ``tell`` of each that was done or passed over.

    Raises:
        UsageError: as :func:`look`, or another run works in the folder.
        CurateError: a step failed; those before it are done.
    """
    with _alone(folder):
        tasks = look(plan, roots, folder)
        record = _record(plan, folder)
        done = []
        for task in tasks:
            before = record.steps.get(task.step.name)
            if task.reason is None:
                assert before is not None
                told = Told(task, False, before.counts)
            else:
                begin(task)
                begun = Made(command=task.command, made_of=task.made_of, outputs=dict.fromkeys(task.outputs), counts={})
                record = _written(record, task, begun, folder)
                counts = _counts(_call(task, roots, folder, commands, jobs))
                outputs = {name: marks.of_output(folder / name) for name in task.outputs}
                record = _written(record, task, msgspec.structs.replace(begun, outputs=outputs, counts=counts), folder)
                told = Told(task, True, counts)
            done.append(told)
            tell(told)
    return done


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder, which is made if need be, and removed again if nothing is written."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(folder, "is no folder", hint="name another place")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(folder, "another run works in this folder", hint="wait for it") from None
        except OSError:  # a file system without locks: there, two runs at once are not noticed
            pass
        yield
    finally:
        os.close(handle)
        if made:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


def _written(record: Record, task: Task, made: Made, folder: Path) -> Record:
    record = msgspec.structs.replace(record, steps={**record.steps, task.step.name: made})
    text = msgspec.json.format(msgspec.json.encode(record), indent=2)
    with atomic_file(folder / RECORD, overwrite=True) as stream:
        stream.write(text + b"\n")
    return record


def _call(task: Task, roots: Mapping[str, str], folder: Path, commands: Commands, jobs: int) -> Any:
    step = task.step
    has = commands.options(step.kind.words)
    words = arguments(step, roots)
    words += [text for name, text in (("jobs", f"--jobs={jobs}"), ("overwrite", "--overwrite")) if name in has]
    try:
        with contextlib.chdir(folder):
            code, result = commands.call(words)
    except CurateError as error:
        failed = _failed(task, folder, [error])
        failed.exit_code = error.exit_code
        raise failed from error
    if code:
        raise _failed(task, folder, _told_by(result, folder / step.name if is_report(step) else None))
    return result


def _failed(task: Task, folder: Path, errors: list[CurateError]) -> CurateError:
    hint = f"what was made stays in {folder}; run again to go on from here"
    return CurateError(f"step {task.step.name}", f"failed: {task.command}", hint=hint, also=errors)


def _told_by(result: Any, report: Path | None) -> list[CurateError]:
    """The first errors that a check found."""
    findings = result.get("findings") if isinstance(result, dict) else None
    found = [one for one in findings or [] if isinstance(one, dict) and one.get("severity") == "error"]
    errors = [CurateError(one["where"], f"{one['code']} {one['message']}") for one in found[:_SHOWN]]
    if not found:
        errors = [CurateError("", "it ended with an error that it did not name", "expected exit code 0")]
    if len(found) > _SHOWN:
        errors.append(
            CurateError("", f"and {len(found) - _SHOWN:,} errors more" + (f", see {report}" if report else ""))
        )
    return errors


def _counts(result: Any) -> dict[str, int]:
    """The numbers that a command tells of its output."""
    if not isinstance(result, dict):
        return {}
    totals = result.get("totals")
    if isinstance(totals, list):  # of a check
        kinds = ("errors", "warnings", "infos")
        return {kind: sum(one.get(kind, 0) for one in totals if isinstance(one, dict)) for kind in kinds}
    counts = result.get("counts", result)
    held = counts.items() if isinstance(counts, dict) else ()
    return {name: n for name, n in held if type(n) is int and n}

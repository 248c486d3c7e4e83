"""The errors that a user can cause, each one line: where, what was found, what was expected, what to do.

CurateError
 ├── SourceError   a raw download or a foreign file is missing, broken or of another kind
 ├── SchemaError   a dataset folder or a table breaks the rules of the schema
 ├── ReviewError   a review round cannot go on
 └── UsageError    a command or function was called wrongly (exit code 2)

Anything else that is raised is a defect of the program and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class CurateError(Exception):
    """One problem, or several of a kind that were found together.

    ``where`` names the file and the place in it, ``found`` what is wrong there, ``expected`` what should stand there
    and ``hint`` what the user can do. ``also`` carries further errors, so that a user sees all of them at once.
    """

    exit_code = 1

    def __init__(
        self, where: object, found: str, expected: str = "", hint: str = "", *, also: Sequence[CurateError] = ()
    ) -> None:
        super().__init__(where, found, expected, hint)
        self.where = str(where)
        self.found = found
        self.expected = expected
        self.hint = hint
        self.also = tuple(also)

    @property
    def line(self) -> str:
        """The error as one line, with control characters escaped so that a hostile name cannot steer a terminal."""
        parts = "; ".join(_short(part) for part in (self.found, self.expected, self.hint) if part)
        return printable(f"{_short(self.where)}: {parts}" if self.where else parts)

    @property
    def lines(self) -> list[str]:
        return [self.line, *(line for other in self.also for line in other.lines)]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from worker processes; the default would lose ``also``.
        return (_rebuild, (type(self), self.where, self.found, self.expected, self.hint, self.also))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the one of ``known`` that is most like ``name``, whatever the case; empty where none is."""
    from difflib import get_close_matches

    folded = {one.casefold(): one for one in known}
    near = get_close_matches(name.casefold(), folded, 1)
    return f"did you mean {folded[near[0]]!r}?" if near else ""


def _short(part: str) -> str:
    """A part of a message without its middle, where a file brought in thousands of letters."""
    return part if len(part) <= _LONGEST else f"{part[: _LONGEST // 2]} … {part[-_LONGEST // 2 :]}"


_LONGEST = 1000


class SourceError(CurateError):
    """A raw download or a foreign file is missing, broken or of another kind than named."""


class SchemaError(CurateError):
    """A dataset folder, a table or a record breaks the rules of the schema."""


class ReviewError(CurateError):
    """A review round cannot go on."""


class UsageError(CurateError):
    """A command or function was called wrongly."""

    exit_code = 2


def printable(text: str) -> str:
    """``text`` with control, surrogate and line-breaking characters written as escapes (``\\x1b``, ``\\n``)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _rebuild(
    kind: type[CurateError], where: str, found: str, expected: str, hint: str, also: Sequence[CurateError]
) -> CurateError:
    return kind(where, found, expected, hint, also=also)

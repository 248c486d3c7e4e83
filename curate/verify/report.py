"""The outcome of a check as a value, and that value as a few lines that can be read in ten seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from curate.codes import CODES, Severity
from curate.errors import printable
from curate.model import Finding
from curate.verify.subject import Kind

Level = Literal["quick", "full", "deep"]
Verdict = Literal["no errors", "errors"]
KEPT = 1000  # findings per code in a report
PRINTED = 20  # findings per code in its text ...
PRINTED_NOTES = 3  # ... and of those that are only notes


class Total(Struct, frozen=True, kw_only=True):
    """How often a code was found."""

    code: str
    title: str
    errors: int = 0
    warnings: int = 0
    infos: int = 0

    @property
    def all(self) -> int:
        return self.errors + self.warnings + self.infos


class NotRun(Struct, frozen=True, kw_only=True):
    """Rules that could not be run, or only in part, and why."""

    codes: tuple[str, ...]
    reason: str


class Report(Struct, frozen=True, kw_only=True):
    """What ``curate verify`` found."""

    report: Literal["curate verify"] = "curate verify"
    path: str
    kind: Annotated[Kind, Meta(description="recognised by content")]
    verdict: Verdict
    level: Level
    fingerprint: Annotated[str | None, Meta(description="of the dataset that was checked")] = None
    counts: Annotated[dict[str, int], Meta(description="rows per table")] = {}
    checked: Annotated[tuple[str, ...], Meta(description="codes of the rules that were run")] = ()
    not_run: tuple[NotRun, ...] = ()
    severities: Annotated[dict[str, Severity], Meta(description="what a configuration makes of codes")] = {}
    totals: Annotated[tuple[Total, ...], Meta(description="all findings, by code")] = ()
    capped: Annotated[tuple[str, ...], Meta(description="codes of which only the first findings are listed")] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> int:
        return sum(total.errors for total in self.totals)


def collect(findings: Iterable[Finding]) -> tuple[tuple[Total, ...], tuple[Finding, ...], tuple[str, ...]]:
    """Count all findings and keep the first ones of each code: totals, kept findings, codes that were capped.

    Errors come first, then by code; findings of one code stay in the order in which they were found.
    """
    counts: Counter[tuple[str, str]] = Counter()
    kept: dict[str, list[Finding]] = {}
    for one in findings:
        counts[one.code, one.severity] += 1
        held = kept.setdefault(one.code, [])
        if len(held) < KEPT:
            held.append(_encodable(one))
    totals = [
        Total(
            code=code,
            title=CODES[code][1],
            errors=counts[code, "error"],
            warnings=counts[code, "warning"],
            infos=counts[code, "info"],
        )
        for code in kept
    ]
    totals.sort(key=lambda total: (not total.errors, not total.warnings, total.code))
    listed = tuple(one for total in totals for one in kept[total.code])
    return tuple(totals), listed, tuple(sorted(total.code for total in totals if total.all > KEPT))


def _encodable(one: Finding) -> Finding:
    """``one`` with what is no Unicode (bytes of a file name that are not UTF-8) written as escapes."""
    parts = {name: getattr(one, name) for name in ("where", "message", "item", "hint")}
    if all(part is None or part.isascii() for part in parts.values()):
        return one
    return replace(one, **{name: part and encodable(part) for name, part in parts.items()})


def encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def text(report: Report, *, only_errors: bool = False) -> str:
    """The report as lines: the verdict, then each code with its title, its count and the first findings."""
    lines = [f"{printable(report.path)}: {_verdict(report)}"]
    for total in report.totals:
        if only_errors and not total.errors:
            continue
        lines.append(f"  {total.code} {total.title}: {_numbers(total)}")
        found = [one for one in report.findings if one.code == total.code]
        limit = PRINTED if total.errors or total.warnings else PRINTED_NOTES
        lines += [f"      {line(one, report.path)}" for one in found[:limit]]
        if total.all > limit:
            lines.append(f"      ... and {total.all - limit:,} more")
    if report.severities:
        changed = ", ".join(f"{code} {word} (else {CODES[code][0]})" for code, word in report.severities.items())
        lines.append(f"  severities by configuration: {changed}")
    if not only_errors:
        lines += [f"  not run: {_ranges(skipped.codes)}: {printable(skipped.reason)}" for skipped in report.not_run]
    return "\n".join(lines)


def line(one: Finding, path: str = "") -> str:
    """A finding as one line, safe for a terminal; ``path``, if it is named already, is left out."""
    where = one.where.removeprefix(f"{path}/").removeprefix(path).removeprefix(", ") if path else one.where
    item = f" (id {one.item})" if one.item and one.item not in one.where else ""
    hint = f"; {one.hint}" if one.hint else ""
    return printable(f"{where}{item}: {one.message}{hint}".removeprefix(": "))


def _verdict(report: Report) -> str:
    sums = [(sum(getattr(t, field) for t in report.totals), word) for field, word in _WORDS]
    found = [_plural(n, word) for n, word in sums if n]
    rows = [f"{n:,} {name}" for name, n in report.counts.items() if name in _SHOWN]
    what = ", ".join([report.kind.replace("_", "."), *rows])
    head = found[0] if report.verdict == "errors" else "no errors"
    rest = found[1:] if report.verdict == "errors" else found
    return ", ".join([head, *rest]) + f" ({what}; level {report.level}, {_plural(len(report.checked), 'rule')})"


_SHOWN = ("images", "annotations", "categories", "queries", "gallery images")
_WORDS = (("errors", "error"), ("warnings", "warning"), ("infos", "note"))


def _numbers(total: Total) -> str:
    return ", ".join(_plural(n, word) for field, word in _WORDS if (n := getattr(total, field)))


def _plural(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def _ranges(codes: Sequence[str]) -> str:
    """Codes in a row as a range: ``I01-I07, R07``."""
    groups: list[list[str]] = []
    for code in sorted(codes):
        last = groups[-1][-1] if groups else ""
        if last[:1] == code[0] and int(code[1:]) == int(last[1:]) + 1:
            groups[-1].append(code)
        else:
            groups.append([code])
    return ", ".join(f"{group[0]}-{group[-1]}" if len(group) > 2 else ", ".join(group) for group in groups)

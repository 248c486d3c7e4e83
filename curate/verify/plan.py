"""What is run on a subject, and what is not, with the reason: a report never passes over a rule in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from curate.verify import images
from curate.verify.report import Level, NotRun
from curate.verify.rules import LEVELS, READING, RULES, Rule
from curate.verify.subject import Subject

# Rules that look at the files below a root.
NEED_ROOTS = {"P03", *images.CODES}
_WITH_SIZES = ("dataset", "coco", "voc")  # kinds whose records state the sizes of images
_IN_RECORDS = {"I03"}  # of these, what is also seen in the records
_FROM_FULL = {"I09"}  # ... and what begins with level full
_BY_ITSELF = {"V04"}  # what is told apart (``_of_release``)


class Plan(NamedTuple):
    rules: tuple[Rule, ...]
    checked: set[str]
    not_run: tuple[NotRun, ...]


def make(subject: Subject, level: Level, chosen: set[str]) -> Plan:
    """Choose the rules for the kind and level, of the ``chosen`` codes."""
    ours = [rule for rule in RULES if subject.kind in rule.kinds.split()]
    reached = [rule for rule in ours if LEVELS.index(rule.level) <= LEVELS.index(level)]
    left_out = _codes(set(ours) - set(reached)) - _BY_ITSELF | (_FROM_FULL if level == "quick" else set())
    checked = (_codes(reached) | set(READING[subject.kind].split())) - left_out
    checked |= NEED_ROOTS - left_out
    if not subject.has_files:
        checked -= NEED_ROOTS - _in_records(subject)
    rules = tuple(rule for rule in reached if set(rule.codes.split()) & chosen)
    not_run = [NotRun(codes=tuple(sorted(left_out)), reason=f"wholly or in part; give --level full (this was {level})")]
    not_run += _without_files(subject, NEED_ROOTS - left_out - _in_records(subject))
    not_run += _without_facts(subject, level)
    not_run += _of_release(subject, level)
    checked -= {"V04"} if subject.kind == "release" and not subject.memo.get("rebuild") else set()
    wanted = (NotRun(codes=tuple(c for c in one.codes if c in chosen), reason=one.reason) for one in not_run)
    return Plan(rules, checked & chosen, tuple(one for one in wanted if one.codes))


def _codes(rules: Iterable[Rule]) -> set[str]:
    return {code for rule in rules for code in rule.codes.split()}


def _in_records(subject: Subject) -> set[str]:
    return _IN_RECORDS if subject.kind in _WITH_SIZES else set()


def _without_files(subject: Subject, codes: set[str]) -> Iterator[NotRun]:
    for source, (n, root) in subject.without_files().items():
        where = f"its folder {str(root)!r} is not there" if root else "no folder is known"
        text = f"{n:,} images of {source} were not looked at: {where}; give --root {source}=FOLDER"
        yield NotRun(codes=tuple(sorted(codes)), reason=text)


def _of_release(subject: Subject, level: Level) -> Iterator[NotRun]:
    """What was not built again of a release."""
    if subject.kind != "release":
        return
    text = "nothing was built again; 'curate verify --level deep' makes exports and figures again from the tables"
    if level == "deep" and subject.memo.get("rebuild"):
        text = "in part: exports and figures were made again from the tables, but these not from the raw downloads; "
        text += "'curate run' with the release's recipe does that"
    yield NotRun(codes=("V04",), reason=text)


def _without_facts(subject: Subject, level: Level) -> Iterator[NotRun]:
    """Rules that need what the records do not say."""
    if level == "quick" or subject.kind not in _WITH_SIZES:
        return
    boxes = subject.boxes
    n = int((~boxes.framed & boxes.sound).sum())
    if n:
        yield NotRun(codes=("B04", "B05", "M05"), reason=f"in part: {n:,} annotations are on images of unknown size")
    if subject.kind == "dataset" and subject.table("members").num_rows:
        reason = "in part: near-duplicates by looks are not compared; 'curate build leakage --look near' does"
        yield NotRun(codes=("Q01", "Q08"), reason=reason)
    hashes = subject.column("images", "sha256")
    if subject.kind == "dataset" and len(hashes) and hashes.null_count == len(hashes):
        codes = ("I09", "Q01", "R07") if subject.table("members").num_rows else ("I09", "R07")
        reason = "by content: no image has a hash; import with --checksums to compare contents"
        yield NotRun(codes=codes, reason=reason)

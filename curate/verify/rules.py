"""The rules by code: what checks for it, from which level on, and in which kinds of input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

from curate.codes import CODES
from curate.errors import UsageError
from curate.model import Finding
from curate.verify import (
    anns,
    archives,
    boxes,
    images,
    label_studio,
    manifests,
    masks,
    paths,
    picture_files,
    queries,
    records,
    references,
    revisitop,
    schema,
    secrets,
    splits,
    text,
    voc,
)
from curate.verify.report import Level
from curate.verify.subject import Kind, Subject

LEVELS: tuple[Level, ...] = get_args(Level)


class Rule(NamedTuple):
    """A check, the codes of its findings, the level from which it runs, and the kinds of input that it is about."""

    codes: str
    level: Level
    kinds: str
    check: Callable[[Subject], Iterator[Finding]]


_RULES = (
    Rule("F10", "quick", "dataset coco anns_pt voc searchad pictures", text.hidden_characters),
    Rule("S01", "quick", "dataset", schema.required_values),
    Rule("R01", "quick", "dataset coco", references.ids_twice),
    Rule("R02", "quick", "dataset coco", references.dangling_images),
    Rule("R03", "quick", "dataset", references.dangling_links),
    Rule("R04", "quick", "dataset", references.empty_ids),
    Rule("R05", "quick", "dataset coco", references.alike_names),
    Rule("R06", "quick", "dataset coco", references.cycles),
    Rule("R07", "quick", "dataset coco voc", references.same_file),
    Rule("R07", "full", "dataset", references.same_content),
    Rule("R08", "quick", "dataset", references.without_annotation),
    Rule("R09", "full", "dataset coco voc searchad", references.alike_annotations),
    Rule("R10", "quick", "dataset coco", references.undeclared),
    Rule("B01", "full", "dataset coco voc searchad", boxes.not_finite),
    Rule("B02", "full", "dataset coco voc searchad", boxes.negative),
    Rule("B03", "full", "dataset coco voc searchad", boxes.no_area),
    Rule("B04", "full", "dataset coco voc", boxes.partly_outside),
    Rule("B05", "full", "dataset coco voc", boxes.wholly_outside),
    Rule("B06", "full", "dataset coco voc", boxes.corners),
    Rule("B07", "full", "dataset coco voc", boxes.one_pixel_over),
    Rule("B08", "full", "dataset coco", boxes.against_mask),
    Rule("B09", "full", "dataset coco", boxes.stored_area),
    Rule("B10", "full", "dataset coco voc searchad", boxes.extreme),
    Rule("B11", "full", "dataset", boxes.size_filter),
    Rule("M01 M02 M04 M06", "full", "dataset coco", masks.broken),
    Rule("M03", "full", "dataset coco", masks.polygon_shape),
    Rule("M05", "full", "dataset coco", masks.mask_size),
    Rule("M07", "full", "dataset", masks.crowd_outlines),
    Rule("M08", "full", "coco", masks.mixed_kinds),
    Rule("M09", "full", "dataset coco", masks.empty),
    Rule("I03", "quick", "dataset coco voc", images.record_sizes),
    Rule("P01", "quick", "dataset coco voc searchad", paths.malformed),
    Rule("P02", "quick", "dataset coco anns_pt voc searchad", paths.addresses),
    Rule("P03", "quick", "dataset coco anns_pt voc searchad pictures", paths.links),
    Rule("P04", "quick", "dataset coco anns_pt voc searchad pictures", paths.unportable),
    Rule("Q01", "full", "dataset", queries.query_in_gallery),
    Rule("Q01", "full", "dataset", queries.query_copy_in_gallery),
    Rule("Q02", "full", "dataset", queries.without_positive),
    Rule("Q02", "full", "dataset", queries.distractor_with_instance),
    Rule("Q03", "full", "dataset", splits.in_two_splits),
    Rule("Q03", "full", "dataset", splits.sequence_in_two_splits),
    Rule("Q03", "full", "dataset", splits.sequence_of_query_in_gallery),
    Rule("Q04", "full", "dataset", splits.declared_counts),
    Rule("Q05", "full", "dataset", splits.contradicting_judgements),
    Rule("Q06", "full", "dataset", splits.dates),
    Rule("Q07", "full", "dataset", splits.withheld_truth),
    Rule("Q08", "full", "dataset", splits.support_in_gallery),
    Rule("Q09", "full", "dataset", splits.doubtful_negatives),
    Rule("Q10 Q11 Q12", "quick", "dataset", records.of_the_build),
    Rule("V01", "full", "dataset", schema.changed_tables),
    Rule("A02 M01 M04", "quick", "anns_pt", anns.malformed),
    Rule("A03", "quick", "anns_pt", anns.lengths),
    Rule("A04", "quick", "anns_pt", anns.several),
    Rule("A05 B03", "quick", "anns_pt", anns.boxes),
    Rule("A06", "quick", "anns_pt", anns.sets),
    Rule("A07", "quick", "anns_pt", anns.keys),
    Rule("A09", "full", "anns_pt", anns.empty_masks),
    Rule("M01 M02 M04 M06", "full", "anns_pt", anns.run_lengths),
    Rule("Q02", "full", "anns_pt", anns.without_positive),
    Rule("M10", "full", "voc", voc.mask_pictures),
    Rule("I08", "full", "voc pictures", picture_files.equal_content),
    Rule("S01 B01 B02", "quick", "revisitop", revisitop.fields),
    Rule("Q05", "quick", "revisitop", revisitop.indices),
    Rule("Q01", "quick", "revisitop", revisitop.query_in_gallery),
    Rule("Q02", "quick", "revisitop", revisitop.without_positive),
    Rule("L01", "quick", "label_studio", label_studio.twice),
    Rule("L02", "quick", "label_studio", label_studio.not_truth),
    Rule("L03", "quick", "label_studio", label_studio.frames),
    Rule("L04 B01", "quick", "label_studio", label_studio.outside),
    Rule("L05", "quick", "label_studio", label_studio.turned),
    Rule("L06", "quick", "label_studio", label_studio.labels),
    Rule("L07", "quick", "label_studio", label_studio.empty),
    Rule("L08", "quick", "label_studio", label_studio.private),
    Rule("L08", "full", "dataset", secrets.in_tables),
    Rule("L08", "quick", "release", secrets.in_release),
    Rule("L09", "quick", "label_studio", label_studio.clocks),
    Rule("M11", "full", "label_studio", label_studio.brushes),
    Rule("X01", "quick", "archive", archives.escaping),
    Rule("X02", "quick", "archive", archives.swelling),
    Rule("X03 P04", "quick", "archive", archives.alike),
    Rule("X02 X03 I04 I07", "full", "archive", archives.content),
    Rule("V01 P03", "quick", "release", manifests.unchanged),
    Rule("V01 V03", "quick", "release", manifests.unlisted),
    Rule("V04", "deep", "release", manifests.rebuilt),
    Rule("V05", "quick", "release", manifests.licences),
    Rule("V06", "quick", "release", manifests.stated_counts),
)
# What is found while a file is read, whatever the level.
READING: Mapping[Kind, str] = {
    "dataset": "F01 F02 F03 F04 F05 F06 F07 F08 F09 P01 S01 S03 S04 S05",
    "coco": "F01 F02 F03 F04 F05 F06 F07 F08 F09 F10 S01 S02 S05 R03 R04 B01 M01 M04 M07",
    "anns_pt": "F01 F02 F04 F09 A01 A02 A08",
    "voc": "F01 F02 F03 F04 F09 S01",
    "searchad": "F01 F02 F03 F04 F05 F06 F07 F08 F09 S01 B01 B02 P01 R01 R02 Q03 Q04 Q05",
    "revisitop": "F02 F04 F09 A01 A02 S01 R01",
    "label_studio": "F01 F02 F03 F04 F05 F06 F07 F08 F09 S01",
    "pictures": "F09",
    "archive": "X02 X03",
    "release": "F01 F02 F03 V02",
    "unknown": "F01 F02 F03 F09",
}


# What members of an archive may be, and the rules for these.
_MEMBERS: tuple[Kind, ...] = ("coco", "label_studio", "anns_pt", "revisitop", "voc", "searchad")
_OF_MEMBERS = sorted(
    {code for rule in _RULES if set(_MEMBERS) & set(rule.kinds.split()) for code in rule.codes.split()}
    | {code for kind in _MEMBERS for code in READING[kind].split()}
)
RULES = (*_RULES, Rule(" ".join(_OF_MEMBERS), "full", "archive", archives.inside))


def select(only: Sequence[str], skip: Sequence[str]) -> set[str]:
    """The codes that are asked for: all, or ``only`` some, less those to ``skip``; codes or their letters.

    Raises:
        UsageError: a word is no code and no letter of one.
    """

    def codes(words: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for word in words:
            named = {code for code in CODES if word.upper() in (code, code[0])}
            if not named:
                letters = ", ".join(sorted({code[0] for code in CODES}))
                raise UsageError(
                    f"rule {word!r}", "unknown", f"expected a code like M04, or one of the letters {letters}"
                )
            found |= named
        return found

    return (codes(only) if only else set(CODES)) - codes(skip)

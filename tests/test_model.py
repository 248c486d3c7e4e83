"""The records: every column that the design names, in its order, described, and frozen."""

from __future__ import annotations

import msgspec
import pytest

from curate.codes import CODES
from curate.model import REQUIRED_TABLES, TABLES, Annotation, Finding, Image, finding

COLUMNS = {
    "images": "id source source_split split file_name width height orientation sha256 sequence place taken_at"
    " date_evidence licence weather time_of_day attributes",
    "annotations": "id image_id parent_id status category source_label instance x y w h area segmentation polygons"
    " iscrowd ignore origin score round attributes",
    "categories": "name supercategory role definition",
    "instances": "id category description taxonomy exists_since evidence",
    "coverage": "scope category state origin round",
    "queries": "id kind group text image_id x y w h annotation_id instance category",
    "support": "query_id rank image_id x y w h annotation_id text",
    "judgements": "query_id image_id label annotation_id origin round",
    "members": "image_id role",
}


@pytest.mark.parametrize("name", TABLES)
def test_each_table_has_the_columns_of_the_contract(name: str) -> None:
    assert " ".join(TABLES[name].record.__struct_fields__) == COLUMNS[name]


def test_there_is_no_table_but_those_of_the_contract() -> None:
    assert list(TABLES) == list(COLUMNS)
    assert set(REQUIRED_TABLES) == {"images", "annotations", "categories"}


@pytest.mark.parametrize("name", TABLES)
def test_a_key_names_columns_of_its_table(name: str) -> None:
    assert set(TABLES[name].key) <= set(TABLES[name].record.__struct_fields__)


def test_records_do_not_change() -> None:
    image = Image(id="s/1", source="s")
    with pytest.raises(AttributeError):
        image.id = "s/2"  # type: ignore[misc]


def test_a_new_annotation_is_the_sources_truth() -> None:
    row = Annotation(id="s/1#0", image_id="s/1")
    assert (row.status, row.origin, row.iscrowd, row.ignore, row.x, row.area) == (
        "truth",
        "source",
        False,
        False,
        *[None] * 2,
    )


def test_a_record_refuses_a_word_that_is_not_one_of_its_few() -> None:
    with pytest.raises(msgspec.ValidationError, match="status"):
        msgspec.convert({"id": "s/1#0", "image_id": "s/1", "status": "maybe"}, Annotation)


def test_findings_take_their_severity_from_their_code() -> None:
    assert finding("F01", "a.png", "is empty") == Finding(
        code="F01", severity="error", where="a.png", message="is empty", item=None, hint=None
    )
    assert finding("F10", "a.png", "odd name").severity == "warning"
    assert finding("S04", "dataset.json", "version 0.9").severity == "info"
    assert finding("F10", "a.png", "NUL in a name", severity="error").severity == "error"
    assert finding("F01", "a.png", "is empty").title == CODES["F01"][1]
    with pytest.raises(KeyError):
        finding("F99", "a.png", "no such code")


def test_codes_are_letters_and_numbers_with_a_title() -> None:
    assert all(code[0].isupper() and len(code) == 3 and code[1:].isdigit() for code in CODES)
    assert all(severity in ("error", "warning", "info") and title for severity, title in CODES.values())

"""Long JSON lists read in blocks: the same records as read at once, wherever the blocks end, and where each lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from curate.errors import SourceError
from curate.sources._json_tables import locate_records, read_place, read_records


class Row(Struct):
    """A record of the tests."""

    token: str
    size: list[float] = []


# Texts that look like the end of a record.
TEXTS = st.sampled_from(["", "a", "},{", '"}, {"', "\\", "é", "[{}]"])
ROWS = st.lists(
    st.fixed_dictionaries({"token": TEXTS, "size": st.lists(st.integers(0, 99), max_size=3), "more": st.none() | TEXTS})
)


@given(rows=ROWS, indent=st.sampled_from([None, 0, 2]), block=st.integers(1, 80), bom=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_blocks_of_any_size_give_what_the_whole_file_gives(
    rows: list[dict[str, Any]], indent: int | None, block: int, bom: bool, tmp_path: Path
) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(rows, indent=indent), "utf-8-sig" if bom else "utf-8")
    wanted = [(row["token"], row["size"]) for row in json.loads(path.read_text("utf-8-sig"))]
    assert [(row.token, row.size) for row in read_records(path, Row, block=block)] == wanted
    located = list(locate_records(path, Row, block=block))
    assert [(row.token, row.size) for _, row in located] == wanted
    assert [place.number for place, _ in located] == list(range(len(rows)))
    content = path.read_bytes()
    with path.open("rb") as stream:
        for (place, row), given_row in zip(located, rows, strict=True):
            assert json.loads(content[place.start : place.start + place.length]) == given_row
            assert read_place(stream, place, Row, path) == row


@pytest.mark.parametrize("block", [1, 16, 50, 1 << 20])
@pytest.mark.parametrize("read", [read_records, locate_records])
def test_a_record_of_another_type_is_named_by_its_number(read: Any, block: int, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps([{"token": "a"}] * 7 + [{"token": "b", "size": [1, None]}] + [{"token": "c"}] * 3))
    with pytest.raises(SourceError, match=r"table\.json, \[7\]\.size\[1\]: expected `float`, got `null`"):
        list(read(path, Row, block=block))
    path.write_text(json.dumps([{"token": "a"}] * 7 + [{}]))
    with pytest.raises(SourceError, match=r"table\.json, \[7\]: object missing required field `token`"):
        list(read(path, Row, block=block))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "file is empty; expected JSON"),
        (b"{}", "expected `array`, got `object`"),
        (b'[{"token": "a"},\n {"token": NaN}]', r"table\.json:2:12: JSON is malformed at 'NaN}\]'"),
        (b'[{"token": "a"}, {"token": "b"', "JSON is cut short after 30 bytes"),
        (b'[{"token": "\xff"}]', "holds text that is not UTF-8"),
        (b"[" * 5000, "nested too deeply|cut short"),
    ],
)
@pytest.mark.parametrize("block", [8, 1 << 20])
@pytest.mark.parametrize("read", [read_records, locate_records])
def test_files_that_are_no_lists_are_refused(read: Any, block: int, text: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(text)
    with pytest.raises(SourceError, match=said):
        list(read(path, Row, block=block))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.json: no such file; expected a JSON list"):
        list(read_records(tmp_path / "absent.json", Row))

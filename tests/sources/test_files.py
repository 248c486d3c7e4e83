"""Listing and reading the files of a download: left-overs, odd names, links, pipes, text and JSON of every quality."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from curate.errors import SourceError
from curate.model import Source
from curate.sources._files import (
    agreed_size,
    chosen_splits,
    decode_json,
    find_files,
    list_files,
    list_folders,
    read_bytes,
    read_json,
    read_text,
)

SOURCE = Source(
    title="A set", homepage="", licence="", citation="", download="", tree="", splits=("train", "test", "extra")
)
FOLDERS = {split: [f"images/{split}"] for split in SOURCE.splits}
decoder = msgspec.json.Decoder(dict[str, list[int]])


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


# Listing


def test_left_overs_and_other_endings_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/-2.png", "a/._1.png", "a/.1.png.swp", "a/1.png~", "a/2.txt", "a/.hidden/3.png")
    assert list_files(tmp_path, "a", ".png") == {"1.png": None, "-2.png": None}
    make(tmp_path, "b/x/1", "b/.git/1", "b/file")
    (tmp_path / "b/loop").symlink_to("loop")
    assert list_folders(tmp_path, "b") == ["x"]


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert list_files(tmp_path, "a", ".png") == {}
    assert list_folders(tmp_path, "a") == []


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, "a")
    with pytest.raises(SourceError, match="a: is a file; expected a folder"):
        list_files(tmp_path, "a", ".png")


def test_a_name_that_is_no_text_is_listed_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    (error,) = list_files(tmp_path, "a", ".png").values()
    assert error is not None
    assert error.found == "file name is not UTF-8"
    error.where.encode()  # no surrogates
    assert error.where.endswith(r"a/\udcff.png")


def test_links_may_point_within_the_root_but_not_out_of_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(root, "a/1.png", "other/5.png")
    make(tmp_path, "secret/5.png")
    (root / "a/in.png").symlink_to(root / "a/1.png")
    (root / "a/out.png").symlink_to(tmp_path / "secret/5.png")
    (root / "a/up.png").symlink_to("../../secret/5.png")
    (root / "a/dead.png").symlink_to("nothing.png")
    (root / "a/loop.png").symlink_to("loop.png")
    found = list_files(root, "a", ".png")
    assert {name: error and error.found.split(" that ")[0] for name, error in found.items()} == {
        "1.png": None,
        "in.png": None,
        "out.png": "is a link",
        "up.png": "is a link",
        "dead.png": "is no regular file, or a link to nothing",
        "loop.png": "is no regular file, or a link to nothing",
    }
    (root / "inside").symlink_to("other")
    assert list_files(root, "inside", ".png") == {"5.png": None}
    (root / "outside").symlink_to(tmp_path / "secret")
    for listing in (lambda: list_files(root, "outside", ".png"), lambda: list_folders(root, "outside")):
        with pytest.raises(SourceError, match="outside: is a link that leaves"):
            listing()


def test_files_are_found_at_any_depth(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/b/c/1.png", "a/b/2.jpg", "a/b/3.txt", "a/.hidden/4.png", "a/b/._5.png", "other/6.png")
    assert sorted(find_files(tmp_path, "a", (".png", ".jpg"))) == ["1.png", "b/2.jpg", "b/c/1.png"]
    assert sorted(find_files(tmp_path, "", ".png")) == ["a/1.png", "a/b/c/1.png", "other/6.png"]
    assert find_files(tmp_path, "nothing", ".png") == {}


def test_links_to_folders_are_followed_once_and_not_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(root, "a/real/1.png", "elsewhere/2.png")
    (root / "a/again").symlink_to("real")  # sorts before the folder itself
    (root / "a/real/up").symlink_to("../../a")
    (root / "a/in").symlink_to("../elsewhere")
    assert sorted(find_files(root, "a", ".png")) == ["in/2.png", "real/1.png"]
    make(tmp_path, "secret/3.png")
    (root / "a/out").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceError, match="a/out: is a link that leaves"):
        find_files(root, "a", ".png")


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    make(tmp_path, "disk/a/1.png")
    (tmp_path / "root").symlink_to("disk")
    assert list_files(tmp_path / "root", "a", ".png") == {"1.png": None}


def test_pipes_and_folders_are_no_files(tmp_path: Path) -> None:
    make(tmp_path, "a/folder.png/1")
    os.mkfifo(tmp_path / "a/pipe.png")
    found = list_files(tmp_path, "a", ".png")
    assert [error and error.found for error in found.values()] == ["is no regular file, or a link to nothing"] * 2
    with pytest.raises(SourceError, match=r"pipe\.png: is not a regular file"):
        read_bytes(tmp_path / "a/pipe.png")


# The root


@pytest.mark.parametrize(
    ("names", "root", "said"),
    [
        (["x/1", "y/2"], ".", r"holds x, y; expected the tree of A set, as images/train/; is it another dataset\?"),
        ([], ".", "is empty; expected"),
        (["a_set.zip"], ".", "holds a_set.zip; .*unpack the archives there first"),
        (["a_set.zip"], "a_set.zip", "is a file; .*unpack the archives into one folder, and name that folder"),
        (["a_set/images/train/1.png"], ".", "holds a_set; .*name .*/a_set instead"),
        (["images/train/1.png"], "images", "holds train; .*name the folder above"),
        ([f"{c}/1" for c in "abcdefgh"], ".", r"holds a, b, c, d, e, f, \.\.\.;"),
    ],
)
def test_a_root_that_is_something_else_says_what(tmp_path: Path, names: list[str], root: str, said: str) -> None:
    make(tmp_path, *names)
    with pytest.raises(SourceError, match=said):
        chosen_splits(tmp_path / root, "set", SOURCE, FOLDERS, ())


def test_splits_are_those_that_are_there_or_asked_for(tmp_path: Path) -> None:
    make(tmp_path, "images/train/1", "images/extra/1")
    assert chosen_splits(tmp_path, "set", SOURCE, FOLDERS, ()) == ["train", "extra"]
    assert chosen_splits(tmp_path, "set", SOURCE, FOLDERS, ("extra",)) == ["extra"]
    with pytest.raises(SourceError, match="holds no split 'test'; expected images/test/; it holds train, extra"):
        chosen_splits(tmp_path, "set", SOURCE, FOLDERS, ("extra", "test"))


# Reading


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file.json: file is empty; expected JSON"),
        (b" \n", "file.json: file is empty"),
        (b'{"a": [1, 2', "file.json: JSON is cut short after 11 bytes"),
        (b'{"a":\n [1,\n  NaN]}', r"file\.json:3:3: JSON is malformed at 'NaN\]}' \(byte 13\)"),
        (b'{"a": [1]} {}', r"file\.json:1:13: JSON is malformed"),
        (b'{"a": ["1"]}', r"file\.json, \[\.\.\.\]\[0\]: expected `int`, got `str`"),
        (b'{"a": [99999999999999999999999999e999]}', r"file\.json, .*number out of range|expected `int`"),
        (b"[]", r"file\.json: expected `object`, got `array`"),
        ('{"\xe9": [1]}'.encode("latin-1"), r"file\.json: .*(not UTF-8|malformed)"),
        ('{"a": [1]}'.encode("utf-16"), r"file\.json:1:1: JSON is malformed"),
        (b'{"a": ' + b"[" * 100_000, r"file\.json"),
    ],
)
def test_json_that_is_broken_is_named_with_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(SourceError, match=said):
        read_json(tmp_path / "file.json", decoder)


def test_a_part_of_a_file_is_decoded_with_its_place(tmp_path: Path) -> None:
    rows = msgspec.json.decode(b'[{"a": [1]}, {"a": [2, "x"]}]', type=list[msgspec.Raw])
    assert decode_json(rows[0], decoder, tmp_path / "file.json", "rows[0]") == {"a": [1]}
    with pytest.raises(SourceError, match=r"file\.json, rows\[1\]\[...\]\[1\]: expected `int`, got `str`"):
        decode_json(rows[1], decoder, tmp_path / "file.json", "rows[1]")


def test_deep_nesting_is_an_error_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(b"[" * 1_000_000)
    with pytest.raises(SourceError, match="nested too deeply"):
        read_json(tmp_path / "file.json", msgspec.json.Decoder())


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(b'\xef\xbb\xbf{"a": [1]}')
    assert read_json(tmp_path / "file.json", decoder) == {"a": [1]}


def test_text_that_is_no_utf8_is_named_with_the_byte(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_bytes(b"Car \xff")
    with pytest.raises(SourceError, match=r"file\.txt: byte 4 is not UTF-8 text"):
        read_text(tmp_path / "file.txt")


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.txt: cannot be read \(No such file or directory\)"):
        read_text(tmp_path / "gone.txt")


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (10**6, 10**6)])
def test_sizes_that_no_picture_has_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(SourceError, match="file: was made for"):
        agreed_size(Path("file"), size, None)


def test_a_size_must_be_that_of_the_image_where_that_is_known() -> None:
    assert agreed_size(Path("file"), (4, 3), (4, 3)) == (4, 3)
    assert agreed_size(Path("file"), (4, 3), None) == (4, 3)
    with pytest.raises(SourceError, match="file: was made for 4 x 3 px; its image has 3 x 4"):
        agreed_size(Path("file"), (4, 3), (3, 4))

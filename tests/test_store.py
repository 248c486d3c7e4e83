"""Dataset folders: what is written is read back, unchanged tables are shared, and damage is told, not hidden."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from curate import store
from curate.dataset import Dataset, empty_table, from_records
from curate.errors import CurateError, SchemaError, UsageError
from curate.model import (
    TABLES,
    Annotation,
    Category,
    Command,
    Counts,
    Coverage,
    Image,
    Info,
    Instance,
    Judgement,
    Member,
    Parent,
    Query,
    Record,
    RelevanceRule,
    Rle,
    SourceRecord,
    Step,
    Support,
    finding,
)

INFO = Info(
    name="test",
    version="3",
    sources={"s": SourceRecord(title="S", licence="CC0-1.0", published=Counts(images=9), found=Counts(images=2))},
    roots={"s": "data/s"},
    parents=(Parent(name="p", fingerprint="00", parents=(Parent(name="g", fingerprint="11"),)),),
    command=Command(verb="build", options={"size": "<0.15"}, steps=(Step(what="size", counts={"images": 2}),)),
    relevance=RelevanceRule(target="category", min_area=16, ignored_labels=("crowd",)),
    headers={"a.json": {"info": {"year": 2017}, "licenses": []}},
)


def dataset(images: int = 2, info: Info = INFO) -> Dataset:
    records: list[Record] = [Image(id=f"s/{i:04d}", source="s", file_name=f"{i}.png") for i in range(images)]
    records += [
        Annotation(
            id=f"s/{i:04d}#0", image_id=f"s/{i:04d}", category="car", x=1.5, segmentation=Rle((3, 4), "<"),
            polygons=[[[0.0, 0.0, 2.0, 0.0, 2.0, 2.0]]], attributes={"ü": [None, 1]},
        )
        for i in range(images)
    ]  # fmt: skip
    records += [
        Category(name="car"),
        Instance(id="set/1"),
        Coverage(scope="s/train", category="*", state="exhaustive"),
        Query(id="q", kind="text", text="größe"),
        Support(query_id="q", rank=0, text="x"),
        Judgement(query_id="q", image_id="s/0000", label="positive"),
        Member(image_id="s/0000", role="gallery"),
    ]
    return from_records(info, records)


def edit(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(manifest | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.write(dataset(), tmp_path / "ds")
    return tmp_path / "ds"


# What is written is read back


def test_everything_comes_back(tmp_path: Path) -> None:
    noticed = [finding("I01", "a.png", "no such file", item="s/0000", hint="look"), finding("N05", "b", "odd\n\x1b")]
    written = Dataset(INFO, dataset().tables, noticed)
    store.write(written, tmp_path / "ds")
    back = store.read(tmp_path / "ds")
    assert back.info == INFO
    assert list(back.tables) == list(TABLES)
    for name in TABLES:
        assert back.table(name).schema.equals(written.table(name).schema), name
        assert back.table(name).to_pylist() == written.table(name).to_pylist(), name
    assert back.fingerprint() == written.fingerprint() == store.read_manifest(tmp_path / "ds").fingerprint
    assert store.read_problems(tmp_path / "ds") == noticed
    assert list(store.changed_tables(tmp_path / "ds")) == []


def test_an_empty_dataset_is_a_dataset(tmp_path: Path) -> None:
    store.write(from_records(Info(name="none"), []), tmp_path / "ds")
    assert store.read(tmp_path / "ds").counts() == {"images": 0, "annotations": 0, "categories": 0}
    assert sorted(file.name for file in (tmp_path / "ds").iterdir()) == [
        "annotations.parquet", "categories.parquet", "dataset.json", "images.parquet"
    ]  # fmt: skip
    assert store.read_problems(tmp_path / "ds") == []


def test_only_some_tables(folder: Path) -> None:
    part = store.read(folder, ["categories"])
    assert part.table("categories").num_rows == 1
    assert part.table("images").num_rows == 0


def test_a_large_table_lies_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PART_ROWS", 3)
    written = dataset(10)
    store.write(written, tmp_path / "ds")
    assert sorted(file.name for file in (tmp_path / "ds" / "images").iterdir()) == [
        f"part-0000{i}.parquet" for i in range(4)
    ]
    back = store.read(tmp_path / "ds")
    assert back.table("images").to_pylist() == written.table("images").to_pylist()
    assert back.fingerprint() == written.fingerprint()
    ids = [id for batch in store.scan(tmp_path / "ds", "images", ["id"], 2) for id in batch["id"].to_pylist()]
    assert ids == written.table("images")["id"].to_pylist()
    # A child shares all the parts.
    store.write(back, tmp_path / "child")
    inodes = [sorted(file.stat().st_ino for file in (tmp_path / d / "images").iterdir()) for d in ("ds", "child")]
    assert inodes[0] == inodes[1]
    assert store.read(tmp_path / "child").table("images").to_pylist() == written.table("images").to_pylist()


def test_scan_gives_batches_of_the_asked_columns(folder: Path) -> None:
    batches = list(store.scan(folder, "annotations", ["image_id", "x"], 1))
    assert [batch.to_pylist() for batch in batches] == [
        [{"image_id": "s/0000", "x": 1.5}],
        [{"image_id": "s/0001", "x": 1.5}],
    ]
    store.write(from_records(Info(name="none"), []), folder.with_name("none"))
    assert list(store.scan(folder.with_name("none"), "members")) == []


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text("ab\u00e9\U0001f600", min_size=1, max_size=3),
        st.sets(st.sampled_from(["distractor", "gallery", "query"])),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_distractors_are_passed_over(tmp_path_factory: Any, roles: dict[str, set[Any]], batch_rows: int) -> None:
    """The same as selecting all other images, whatever the batches are."""
    folder = tmp_path_factory.mktemp("distractors") / "ds"
    images = [Image(id=f"s/{key}", source="s", split=key) for key in roles]
    members = [Member(image_id=f"s/{key}", role=role) for key, several in roles.items() for role in several]
    whole_set = from_records(Info(name="d"), [*images, *members, Category(name="car")])
    store.write(whole_set, folder)
    found, count = store.read_without_distractors(folder, batch_rows)
    alone = [f"s/{key}" for key, several in roles.items() if several == {"distractor"}]
    kept = sorted(set(whole_set.table("images")["id"].to_pylist()) - set(alone))
    assert count == len(alone)
    assert found.fingerprint() == whole_set.select_images(pa.array(kept, pa.string())).fingerprint()


def test_the_same_dataset_gives_the_same_bytes(tmp_path: Path) -> None:
    store.write(dataset(), tmp_path / "a")
    time.sleep(0.01)
    store.write(dataset(), tmp_path / "b")
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9 \x1b")
    store.write(dataset(), path)
    assert store.read(path).fingerprint() == dataset().fingerprint()
    assert sum(batch.num_rows for batch in store.scan(path, "images")) == 2


def test_a_folder_name_that_looks_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    store.write(dataset(), tmp_path / "split=train" / "width=7")
    assert store.read(tmp_path / "split=train" / "width=7").fingerprint() == dataset().fingerprint()


# Unchanged tables are shared


def test_an_unchanged_table_is_linked_and_a_changed_one_is_not(folder: Path, tmp_path: Path) -> None:
    parent = store.read(folder)
    child = parent.replace(annotations=empty_table("annotations"))
    store.write(child, tmp_path / "child")

    def same(name: str) -> bool:
        return (folder / name).stat().st_ino == (tmp_path / "child" / name).stat().st_ino

    assert same("images.parquet")
    assert same("members.parquet")
    assert not same("annotations.parquet")
    assert store.read(tmp_path / "child").counts()["annotations"] == 0
    assert list(store.changed_tables(tmp_path / "child")) == []
    # The parent may go; the child keeps what it shares.
    shutil.rmtree(folder)
    assert store.read(tmp_path / "child").table("images").num_rows == 2


def test_a_parent_that_was_deleted_or_replaced_meanwhile_is_not_linked(folder: Path, tmp_path: Path) -> None:
    held = store.read(folder)
    expected = held.fingerprint()
    store.write(dataset(5), folder, overwrite=True)
    store.write(held, tmp_path / "a")
    assert store.read(tmp_path / "a").counts()["images"] == 2
    assert list(store.changed_tables(tmp_path / "a")) == []
    held = store.read(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    store.write(held, tmp_path / "b")
    assert store.read_manifest(tmp_path / "b").fingerprint == expected
    assert list(store.changed_tables(tmp_path / "b")) == []


def test_where_links_are_impossible_the_table_is_copied(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: object, target: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    store.write(store.read(folder), tmp_path / "child")
    assert store.read(tmp_path / "child").fingerprint() == dataset().fingerprint()
    assert (tmp_path / "child" / "images.parquet").stat().st_nlink == 1


# Outputs


def test_an_existing_output_is_kept_unless_told_otherwise(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(UsageError, match="ds: already exists; give --overwrite"):
        store.write(dataset(5), folder)
    with pytest.raises(UsageError, match="ds: already exists"):
        store.ready_to_write(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    store.write(dataset(5), folder, overwrite=True)
    assert store.read(folder).counts()["images"] == 5


def test_a_folder_that_is_no_dataset_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "0001.png").touch()
    for attempt in (store.ready_to_write, lambda path, overwrite: store.write(dataset(), path, overwrite=overwrite)):
        with pytest.raises(UsageError, match="raw: exists and is no output of this command"):
            attempt(tmp_path / "raw", overwrite=True)
    assert [file.name for file in (tmp_path / "raw").iterdir()] == ["0001.png"]


def test_an_input_is_never_the_output(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    for output in (folder, folder / ".." / "ds", tmp_path / "link"):
        with pytest.raises(UsageError, match="is also an input; nothing is changed in place"):
            store.ready_to_write(output, overwrite=True, inputs=[tmp_path / "other", folder])


WRITER = """
import sys
from curate import store
source, target = sys.argv[1:]
held = store.read(source)
print("ready", flush=True)
store.write(held.replace(annotations=held.table("annotations")), target, overwrite=True)
"""


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_dataset(tmp_path: Path) -> None:
    store.write(dataset(2), tmp_path / "two")
    store.write(dataset(900), tmp_path / "many")
    store.write(dataset(2), tmp_path / "out")
    fingerprints = {name: store.read_manifest(tmp_path / name).fingerprint for name in ("two", "many")}
    command = [sys.executable, "-c", WRITER, str(tmp_path / "many"), str(tmp_path / "out")]

    def state() -> str:
        # Read in full, and hashed again: a mixture of the two would not pass.
        assert list(store.changed_tables(tmp_path / "out")) == []
        found = store.read(tmp_path / "out").fingerprint()
        return {value: name for name, value in fingerprints.items()}[found]

    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = time.perf_counter()
        assert process.wait() == 0
        needed = time.perf_counter() - started
    before, seen = state(), set()
    for i in range(24):
        command[-2] = str(tmp_path / ("two" if before == "many" else "many"))
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(needed * i / 12)
            process.send_signal(signal.SIGKILL)
        after = state()
        seen.add(before == after)
        before = after
    assert subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["many", "out", "two"]
    assert seen == {True, False}, "the kills all came at the same side of the change: nothing was tested"


def limited_write(target: Path, *, bytes_per_file: int) -> subprocess.CompletedProcess[str]:
    script = "import sys; from tests.test_store import *; store.write(dataset(900), sys.argv[1], overwrite=True)"
    return subprocess.run(
        [sys.executable, "-c", script, str(target)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_per_file, bytes_per_file)),
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("limit", [0, 100, 3000, 8000])
def test_a_file_that_cannot_grow_leaves_the_old_dataset(folder: Path, limit: int) -> None:
    done = limited_write(folder, bytes_per_file=limit)
    assert done.returncode == 1
    assert "OSError" in done.stderr or "File too large" in done.stderr
    assert store.read(folder).fingerprint() == dataset().fingerprint()
    assert [entry.name for entry in folder.parent.iterdir()] == ["ds"]
    assert limited_write(folder, bytes_per_file=1 << 24).returncode == 0
    assert store.read(folder).counts()["images"] == 900


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_the_old_dataset(small_disk: Path) -> None:
    store.write(dataset(2), small_disk / "ds")
    bulky = dataset(2).replace(
        instances=from_records(
            INFO, [Instance(id=f"{random.Random(i).random()}") for i in range(9000)]
        ).table("instances")
    )  # fmt: skip
    with pytest.raises(OSError, match="No space left"):
        store.write(bulky, small_disk / "ds", overwrite=True)
    assert [entry.name for entry in small_disk.iterdir()] == ["ds"]
    assert store.read(small_disk / "ds").fingerprint() == dataset().fingerprint()
    store.write(dataset(3), small_disk / "ds", overwrite=True)
    assert store.read(small_disk / "ds").counts()["images"] == 3


def boxes(path: Path, images: int) -> Path:
    """A COCO file whose dataset needs some 40 bytes per image, however it is compressed."""
    names = [f"{random.Random(i).random()}.png" for i in range(images)]
    rows = [{"id": i, "file_name": name, "width": 9, "height": 9} for i, name in enumerate(names)]
    path.write_text(json.dumps({"images": rows, "annotations": [], "categories": []}))
    return path


@pytest.mark.parametrize("output", ["ds", "new"])
def test_on_a_full_disk_a_command_ends_with_a_line(
    small_disk: Path, curate: Callable[..., Any], tmp_path: Path, output: str
) -> None:
    store.write(dataset(2), small_disk / "ds")
    given = ["import", "coco", boxes(tmp_path / "many.json", 9000), "-o", f"disk/{output}", "--overwrite"]
    (line,) = curate(*given, code=1).stderr.splitlines()
    assert line.startswith(f"curate: disk/{output}: No space left on device; free some space, or write elsewhere")
    assert [entry.name for entry in small_disk.iterdir()] == ["ds"]
    assert store.read(small_disk / "ds").fingerprint() == dataset().fingerprint()
    curate("import", "coco", boxes(tmp_path / "few.json", 9), "-o", f"disk/{output}", "--overwrite")
    assert store.read(small_disk / output).counts()["images"] == 9


def test_on_a_read_only_disk_a_command_ends_with_a_line(
    small_disk: Path, curate: Callable[..., Any], tmp_path: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    given = ["import", "coco", boxes(tmp_path / "few.json", 9), "-o"]
    for output in ("disk/ds", "disk/deeper/ds"):
        (line,) = curate(*given, output, code=1).stderr.splitlines()
        assert line.endswith(": Read-only file system; write elsewhere")
        assert line.startswith("curate: disk/d") or f"{tmp_path}/disk/d" in line
    assert list(small_disk.iterdir()) == []


def test_where_files_cannot_grow_a_command_ends_with_a_line(curate: Callable[..., Any], tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    given = ["import", "coco", boxes(tmp_path / "many.json", 9000), "-o", "ds"]
    (line,) = curate(*given, code=1, preexec_fn=limit).stderr.splitlines()
    assert line == "curate: ds: File too large; the file system or a limit allows no larger file; write elsewhere"
    assert [entry.name for entry in tmp_path.iterdir()] == ["many.json"]


def test_a_read_only_disk_is_refused_and_stays_as_it_was(small_disk: Path) -> None:
    store.write(dataset(2), small_disk / "ds")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OSError, match="Read-only file system"):
        store.write(dataset(3), small_disk / "ds", overwrite=True)
    with pytest.raises(OSError, match="Read-only file system"):
        store.write(dataset(3), small_disk / "new")
    assert [entry.name for entry in small_disk.iterdir()] == ["ds"]
    assert store.read(small_disk / "ds").counts()["images"] == 2


# Damage


def test_what_is_no_dataset_is_told(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="absent: no such folder; expected a dataset folder"):
        store.read(tmp_path / "absent")
    with pytest.raises(SchemaError, match=r"has no dataset\.json; .*; make one with 'curate import'"):
        store.read(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SchemaError, match=r"file: has no dataset\.json"):
        store.read(tmp_path / "file")
    assert not store.is_dataset(tmp_path)
    assert not store.is_dataset(tmp_path / "file")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"name": "x"}',
        b'{"schema_version": "1.0"}',
        b"\xff\xfe\x00",
        b'{"schema_version": "1.0", "name": "\xff"}',
        b'{"schema_version": "1.0", "fingerprint": "", "name": 7, "tables": {}}',
        b'{"schema_version": "1.0", "fingerprint": "", "name": "x", "tables": {"images": {"rows": "2"}}}',
        b'{"schema_version": "1.0", "fingerprint": "", "name": "x", "tables": {}}',
        b'{"a": ' + b"[" * 100_000,
        b'{"schema_version": ' + b"1" * 6000 + b"}",
        b'{"schema_version": "' + b"1" * 6000 + b'"}',
    ],
)
def test_a_damaged_manifest_is_an_error_that_names_it(folder: Path, content: bytes) -> None:
    (folder / "dataset.json").write_bytes(content)
    with pytest.raises(SchemaError, match=r"ds/dataset\.json: ."):
        store.read(folder)


@pytest.mark.parametrize("version", ["2.0", "10.1"])
def test_a_newer_schema_is_refused(folder: Path, version: str) -> None:
    edit(folder, schema_version=version)
    with pytest.raises(SchemaError, match=f"schema version {version}; this curate reads 1.0; upgrade curate"):
        store.read(folder)


@pytest.mark.parametrize("version", [None, 1, 1.0, "", "one", "²", ["1.0"]])
def test_an_unreadable_schema_version_is_told(folder: Path, version: Any) -> None:
    edit(folder, schema_version=version)
    with pytest.raises(SchemaError, match=r"schema_version is .*; expected a version like '1\.0'"):
        store.read(folder)


def test_a_later_minor_version_may_say_more(folder: Path) -> None:
    edit(folder, schema_version="1.7", colour="blue")
    assert store.read(folder).counts()["images"] == 2


@pytest.mark.parametrize("file", ["../images.parquet", "/etc/passwd", "a/../../b", ".."])
def test_a_manifest_cannot_lead_out_of_its_folder(folder: Path, file: str) -> None:
    tables = msgspec.to_builtins(store.read_manifest(folder).tables)
    tables["images"]["files"] = [file]
    edit(folder, tables=tables)
    for attempt in (lambda: store.read(folder), lambda: list(store.scan(folder, "images"))):
        with pytest.raises(SchemaError, match=f"table file '{file}' leaves the folder"):
            attempt()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "lists a table without files"),
        (["nowhere.parquet"], r"nowhere\.parquet: table file is missing; make the dataset again"),
        (["."], "table cannot be read"),
        (["dataset.json"], r"dataset\.json: table is damaged"),
        (["members.parquet"], "unknown column|1 rows; expected 2"),
        (["images.parquet", "images.parquet"], "4 rows; expected 2"),
    ],
)
def test_a_manifest_that_lists_the_wrong_files(folder: Path, files: list[str], message: str) -> None:
    tables = msgspec.to_builtins(store.read_manifest(folder).tables)
    tables["images"]["files"] = files
    edit(folder, tables=tables)
    with pytest.raises(SchemaError, match=message):
        store.read(folder)


@pytest.mark.parametrize("name", ["images", "annotations", "categories"])
def test_a_table_that_every_dataset_has_may_not_be_missing(folder: Path, name: str) -> None:
    tables = msgspec.to_builtins(store.read_manifest(folder).tables)
    del tables[name]
    edit(folder, tables=tables)
    with pytest.raises(SchemaError, match=f"lists no table {name}"):
        store.read(folder)


@pytest.mark.parametrize("size", [0, 1, 4, 100, -1, -8])
def test_a_table_file_that_was_cut_short(folder: Path, size: int) -> None:
    content = (folder / "images.parquet").read_bytes()
    (folder / "images.parquet").write_bytes(content[:size])
    for attempt in (lambda: store.read(folder), lambda: list(store.scan(folder, "images"))):
        with pytest.raises(SchemaError, match=r"images\.parquet: table is damaged .*; make the dataset again"):
            attempt()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255))
@example(place=0.03862941416663057, byte=16)  # a dictionary that lost its words
def test_any_changed_byte_of_a_table_is_an_error_or_a_changed_fingerprint(
    folder: Path, place: float, byte: int
) -> None:
    pristine = folder.with_name("pristine.parquet")
    if not pristine.exists():
        shutil.copy(folder / "annotations.parquet", pristine)
    content = bytearray(pristine.read_bytes())
    content[int(place * len(content))] ^= byte
    (folder / "annotations.parquet").unlink()  # not in place: that would reach through hard links
    (folder / "annotations.parquet").write_bytes(content)
    try:
        rows = store.read(folder).table("annotations").to_pylist()
    except CurateError:
        return
    intact = rows == dataset().table("annotations").to_pylist()
    assert intact == (list(store.changed_tables(folder)) == [])


def test_rows_that_were_changed_behind_our_back_are_noticed(folder: Path) -> None:
    table = pa.parquet.read_table(folder / "annotations.parquet")
    index = table.schema.get_field_index("x")
    (folder / "annotations.parquet").unlink()
    pa.parquet.write_table(table.set_column(index, "x", pa.array([1.5, 2.5])), folder / "annotations.parquet")
    before = store.read_manifest(folder).tables["annotations"].fingerprint
    ((name, stored, found),) = store.changed_tables(folder)
    assert (name, stored) == ("annotations", before)
    assert found != before


@pytest.mark.parametrize("content", [b"{}\n", b'{"code": "F01"\n', b"\xff\n", b"[" * 100_000])
def test_damaged_problems_are_an_error(folder: Path, content: bytes) -> None:
    (folder / "problems.jsonl").write_bytes(content)
    with pytest.raises(SchemaError, match=r"problems\.jsonl: .*expected one finding per line"):
        store.read_problems(folder)


@pytest.mark.parametrize("name", ["dataset.json", "images.parquet"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    store.write(from_records(Info(name="x"), []), tmp_path / "x")
    (tmp_path / "x" / name).unlink()
    os.mkfifo(tmp_path / "x" / name)
    code = "import sys; from curate import store; store.read(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x"], capture_output=True, text=True, timeout=60)
    assert f"{name}: " in done.stderr and "is not a regular file" in done.stderr


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted by /proc")
def test_reading_starts_no_thread(tmp_path: Path) -> None:
    """One that Arrow still starts as a short command ends aborts it: 'terminate called without an active exception'."""
    store.write(from_records(Info(name="a"), [Image(id="s/a", source="s")]), tmp_path / "ds")
    script = (
        "import os\nfrom curate import store\nbefore = len(os.listdir('/proc/self/task'))\n"
        "store.read('ds')\nprint(len(os.listdir('/proc/self/task')) - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"

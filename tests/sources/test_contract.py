"""The contract of all sources: what a source must do, asked of each that there is.

A source is tested here from the moment its module exists; its tree is written by ``tests/sources/<name>/tree.py``.
Its own oddities are in its own file.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from curate import importing, sources
from curate.dataset import Dataset
from curate.engine import map_chunks
from curate.errors import SourceError
from curate.importing import import_source
from curate.model import Item
from curate.sources import _files

Tree = Callable[..., Path]
NAMES = sources.names()
every_source = pytest.mark.parametrize("name", NAMES)
# What no format of a source takes for content: no UTF-8, no picture, no JSON, no numbers.
RUBBISH = b"\xff\xfe\x00 rubbish \x80"


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))


def pictures(dataset: Dataset) -> dict[str, Path]:
    """Where the picture of each image is or would be, by id; roots are those of the images' own sources."""
    roots = dataset.info.roots
    rows = dataset.table("images").to_pylist()
    return {row["id"]: Path(roots[row["source"]]) / row["file_name"] for row in rows if row["file_name"]}


@every_source
def test_facts_are_stated(name: str) -> None:
    facts = sources.load(name).SOURCE
    for field in ("title", "homepage", "licence", "citation", "download", "tree"):
        assert getattr(facts, field).strip(), field
    assert len(set(facts.splits)) == len(facts.splits)


@every_source
def test_items_are_sorted_and_stable(name: str, tree: Tree) -> None:
    root = tree(name)
    first: list[Item] = sources.load(name).scan(root, ())
    assert first
    assert [item.id for item in first] == sorted({item.id for item in first})
    assert [item[:5] for item in sources.load(name).scan(root, ())] == [item[:5] for item in first]


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(sources.load(name), "survey")])
def test_what_a_survey_reads_is_read_once(name: str, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Label files of a whole split may be large; both the items and what is said of the whole come from them."""
    root = tree(name)
    read: Counter[Path] = Counter()
    plain = _files.read_regular
    monkeypatch.setattr(_files, "read_regular", lambda path: (read.update([path]), plain(path))[1])
    import_source(name, root)
    assert read
    assert max(read.values()) == 1


@every_source
def test_what_is_surveyed_is_what_is_scanned(name: str, tree: Tree) -> None:
    """Given what a survey held or without it, a source says the same."""
    root, module = tree(name), sources.load(name)
    survey = getattr(module, "survey", None)
    assert "held" not in importing.offered_options(name)
    if survey is None:
        return
    held = survey(root, ())
    assert [item[:5] for item in module.scan(root, (), held)] == [item[:5] for item in module.scan(root, ())]
    assert list(module.records(root, (), held)) == list(module.records(root, ()))


@every_source
def test_ids_are_unique_and_derived(name: str, tree: Tree) -> None:
    dataset = import_source(name, tree(name))  # which refuses an id that stands twice
    images = dataset.table("images")["id"].to_pylist()
    assert images == sorted(images)
    owners = dataset.table("images")["source"].to_pylist()
    assert all(image.startswith(f"{owner}/") for image, owner in zip(images, owners, strict=True))
    # Only a source that says where others' pictures lie has images of others.
    assert set(owners) == {name} or set(owners) <= {name, *sources.load(name).roots(Path())}
    assert set(owners) <= set(dataset.info.sources)
    for row in dataset.table("annotations").select(["id", "image_id"]).to_pylist():
        assert row["image_id"] in images
        assert re.fullmatch(rf"{re.escape(row['image_id'])}#[^#]+", row["id"])


@every_source
def test_parents_are_there(name: str, tree: Tree) -> None:
    table = import_source(name, tree(name)).table("annotations")
    assert set(table["parent_id"].to_pylist()) - {None} <= set(table["id"].to_pylist())


@every_source
def test_sizes_are_those_of_the_pictures(name: str, tree: Tree) -> None:
    root = tree(name)
    seen = 0
    dataset = import_source(name, root)
    paths = pictures(dataset)
    for row in dataset.table("images").to_pylist():
        if row["id"] not in paths or not paths[row["id"]].is_file():
            continue
        with Image.open(paths[row["id"]]) as picture:
            assert (row["width"], row["height"]) == picture.size, row["id"]
        seen += 1
    assert seen


@every_source
def test_file_names_are_relative_with_forward_slashes(name: str, tree: Tree) -> None:
    for file_name in import_source(name, tree(name)).table("images")["file_name"].to_pylist():
        assert file_name is None or not re.search(r"^/|\\|(^|/)\.\.?(/|$)", file_name)


@every_source
def test_every_label_is_in_the_label_table(name: str, tree: Tree) -> None:
    root = tree(name)
    dataset = import_source(name, root)
    declared = {record.name for record in sources.load(name).records(root, ()) if type(record).__name__ == "Category"}
    used = set(dataset.table("annotations")["category"].to_pylist()) - {None}
    assert used <= declared or sources.load(name).LABELS_ARE_OPEN
    assert not [problem for problem in dataset.problems if problem.code == "N01"]


@every_source
def test_masks_and_boxes_are_of_the_frame(name: str, tree: Tree) -> None:
    dataset = import_source(name, tree(name))
    sizes = {row["id"]: (row["height"], row["width"]) for row in dataset.table("images").to_pylist()}
    wrong = {problem.item for problem in dataset.problems if problem.code in ("M05", "I02")}
    for row in dataset.table("annotations").to_pylist():
        if row["segmentation"] and row["id"] not in wrong and row["image_id"] not in wrong:
            assert tuple(row["segmentation"]["size"]) == sizes[row["image_id"]], row["id"]


@every_source
def test_coverage_is_stated_for_every_image(name: str, tree: Tree) -> None:
    dataset = import_source(name, tree(name))
    scopes = set(dataset.table("coverage")["scope"].to_pylist())
    for row in dataset.table("images").to_pylist():
        assert {row["id"], f"{row['source']}/{row['source_split']}"} & scopes, row["id"]


@every_source
def test_every_split_that_is_there_can_be_asked_for(name: str, tree: Tree) -> None:
    root = tree(name)
    whole = import_source(name, root)
    splits = set(whole.table("images")["source_split"].to_pylist()) - {None}
    assert splits <= set(sources.load(name).SOURCE.splits)
    parts = [set(import_source(name, root, splits=[split]).table("images")["id"].to_pylist()) for split in splits]
    if parts:
        split = dict(zip(*(whole.table("images")[name].to_pylist() for name in ("id", "source_split")), strict=True))
        assert set().union(*parts) == {image for image in split if split[image]}


@every_source
def test_one_worker_or_two_give_the_same(name: str, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(name)
    alone = import_source(name, root)
    monkeypatch.setattr(importing, "map_chunks", partial(map_chunks, chunk=1))  # so that two have something to do
    together = import_source(name, root, jobs=2)
    assert together.fingerprint() == alone.fingerprint()
    assert together.problems == alone.problems


@every_source
def test_the_way_the_root_is_typed_does_not_matter(name: str, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(name)
    link = root.with_name("link")
    link.symlink_to(root)
    monkeypatch.chdir(root.parent)
    typed = [root, Path(root.name), Path(root.name) / "..", link]
    typed[2] = Path(root.name) / ".." / root.name
    datasets = [import_source(name, path) for path in typed]
    assert len({dataset.fingerprint() for dataset in datasets}) == 1
    assert len({tuple(dataset.problems) for dataset in datasets}) == 1


@every_source
def test_the_order_in_which_files_were_unpacked_does_not_matter(name: str, tree: Tree, tmp_path: Path) -> None:
    root = tree(name)
    other = tmp_path / "other"
    for path in reversed(files(root)):
        (other / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, other / path.relative_to(root))
    assert import_source(name, other).fingerprint() == import_source(name, root).fingerprint()


@every_source
def test_what_editors_and_file_systems_leave_behind_is_passed_over(name: str, tree: Tree) -> None:
    root = tree(name)
    before = import_source(name, root)
    for path in files(root):
        for left in (f".{path.name}.swp", f"._{path.name}", f"{path.name}~", ".DS_Store"):
            path.with_name(left).write_bytes(RUBBISH)
    after = import_source(name, root)
    assert after.fingerprint() == before.fingerprint()
    assert after.problems == before.problems


@every_source
def test_a_broken_file_is_named(name: str, tree: Tree) -> None:
    """Whatever file is rubbish: it is not read, or an error or finding names it. Pictures and labels are read."""
    root = tree(name)
    sound = import_source(name, root)
    outcomes: dict[str, set[str]] = {}
    for path in files(root):
        content = path.read_bytes()
        path.write_bytes(RUBBISH)
        outcomes.setdefault(_outcome(name, root, path, sound), set()).add(str(path.relative_to(root)))
        path.write_bytes(content)
    there = {str(path.relative_to(root)) for path in pictures(sound).values() if path.is_file()}
    assert there <= outcomes["error"]
    assert outcomes["error"] - there, "no label file was read"


def _outcome(name: str, root: Path, path: Path, sound: Dataset) -> str:
    try:
        dataset = import_source(name, root)
    except SourceError as error:
        assert path.name in str(error), str(error)
        return "error"
    if dataset.fingerprint() == sound.fingerprint() and dataset.problems == sound.problems:
        return "not read"
    new = set(dataset.problems) - set(sound.problems)
    assert any(path.name in f"{problem.where} {problem.message}" for problem in new), path
    return "finding"


@every_source
def test_a_broken_picture_can_be_left_out(name: str, tree: Tree) -> None:
    root = tree(name)
    dataset = import_source(name, root)
    rows, paths = dataset.table("images").to_pylist(), pictures(dataset)
    bad = next(row for row in rows if row["id"] in paths and paths[row["id"]].is_file())
    paths[bad["id"]].write_bytes(RUBBISH)
    dataset = import_source(name, root, skip_bad=True)
    gone = {row["id"] for row in rows} - set(dataset.table("images")["id"].to_pylist())
    assert gone == {bad["id"]}
    assert bad["id"] not in dataset.table("annotations")["image_id"].to_pylist()
    (finding,) = [problem for problem in dataset.problems if problem.code == "N03" and problem.item == bad["id"]]
    assert bad["file_name"] in finding.where


@every_source
def test_the_tree_of_another_source_is_refused(name: str, tree: Tree) -> None:
    for other in NAMES:
        if other != name:
            root = tree(other, f"raw_{other}_for_{name}")
            with pytest.raises(SourceError, match=re.escape(str(root))) as raised:
                import_source(name, root)
            assert "expected" in raised.value.line


@every_source
def test_an_empty_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=re.escape(str(tmp_path))):
        import_source(name, tmp_path)


@every_source
def test_coco_brings_it_back_unchanged(name: str, tree: Tree, tmp_path: Path) -> None:
    from curate import coco

    dataset = import_source(name, tree(name))
    coco.write(dataset, tmp_path / "instances.json")
    back = coco.read(tmp_path / "instances.json")
    for table, rows in dataset.tables.items():
        assert back.table(table).to_pylist() == rows.to_pylist(), table
    assert back.fingerprint() == dataset.fingerprint()

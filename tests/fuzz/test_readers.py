"""Every reader of a foreign file that is no source: verify, evaluation, pickles, archives, masks, plans, recipes."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st
from PIL import Image as PilImage
from scipy.io import savemat

from curate import brush, evaluate, geometry, runlengths, store, torch_zip
from curate.commands.run import RecipeCommands
from curate.dataset import Dataset
from curate.errors import CurateError
from curate.evaluate import submission
from curate.export import anns_pt, coco
from curate.importing import import_source
from curate.model import Rle
from curate.pictures import read_header
from curate.plain_pickle import unpickle
from curate.recipe import reading
from curate.review import log, plan
from curate.taxonomy import tables
from curate.verify import severities, verify
from tests.fuzz.conftest import changed, fuzz, mutated, write_tree

SHAPES: dict[str, Any] = {
    "rectanglelabels": {"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 0},
    "polygonlabels": {"points": [[1, 2], [3, 4], [5, 1]]},
    "brushlabels": {"format": "rle", "rle": brush.encode(geometry.rle_from_counts([2400], 60, 40))},
}
TASKS = [
    {
        "id": 1,
        "data": {"image": "a.png"},
        "annotations": [
            {
                "id": 4,
                "completed_by": 1,
                "created_at": "2026-01-01T10:00:00Z",
                "updated_at": "2026-01-01T10:00:05Z",
                "lead_time": 4.5,
                "result": [
                    {
                        "id": "r",
                        "type": kind,
                        "from_name": "b",
                        "to_name": "i",
                        "original_width": 60,
                        "original_height": 40,
                        "value": {kind: ["cup"], **value},
                    }
                    for kind, value in SHAPES.items()
                ],
            }
        ],
    }
]


@pytest.fixture(scope="module")
def voxdet(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = write_tree("voxdet", tmp_path_factory.mktemp("voxdet") / "raw")
    return import_source("voxdet", root)


def checked(path: Path) -> Callable[[bytes], None]:
    """A reader that puts the bytes under a name and verifies what is there."""

    def read(data: bytes) -> None:
        path.write_bytes(data)
        assert verify(path).verdict in ("errors", "no errors")

    return read


def packed(members: dict[str, bytes], kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(fileobj=stream, mode=kind) as tar:
            for name, data in members.items():
                about = tarfile.TarInfo(name)
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))
    return stream.getvalue()


def picture(kind: str, mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    PilImage.new(mode, (40, 30), 7).save(stream, kind)
    return stream.getvalue()


def test_coco_json(voxdet: Dataset, tmp_path: Path) -> None:
    coco.write(voxdet, tmp_path / "whole.json")
    small = {
        "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3.5, 4], "area": 14, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 2, "segmentation": [[1, 1, 9, 1, 9, 9]], "bbox": [1, 1, 8, 8]},
            {"id": 3, "image_id": 1, "category_id": 2, "segmentation": {"size": [40, 60], "counts": [9, 1, 2390]}},
            {"id": 4, "image_id": 1, "category_id": 2, "segmentation": {"size": [40, 60], "counts": "9126d2"}},
        ],
        "categories": [{"id": 2, "name": "cup", "supercategory": "thing"}],
    }
    samples = [json.dumps(small).encode(), (tmp_path / "whole.json").read_bytes()[:20_000], b"\xef\xbb\xbf{}"]
    file = tmp_path / "x.json"
    look = checked(file)

    def read(data: bytes) -> None:
        look(data)
        assert isinstance(import_source("coco", file), Dataset)

    fuzz(read, mutated(samples))


def test_label_studio(tmp_path: Path) -> None:
    fuzz(checked(tmp_path / "x.json"), mutated([json.dumps(TASKS).encode(), json.dumps(TASKS, indent=1).encode()]))


def test_voc_xml(tmp_path: Path) -> None:
    root = write_tree("voc", tmp_path / "raw") if (Path(__file__).parents[1] / "sources/voc/tree.py").exists() else None
    sample = (
        b"<annotation><filename>a.png</filename><size><width>60</width><height>40</height><depth>3</depth></size>"
        b"<object><name>cup</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax>"
        b"<ymax>8</ymax></bndbox></object></annotation>"
    )
    samples = [sample] + ([file.read_bytes() for file in sorted(root.rglob("*.xml"))[:3]] if root else [])
    fuzz(checked(tmp_path / "x.xml"), mutated(samples))


def test_anns_pt(voxdet: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "anns.pt"
    anns_pt.write(voxdet, file)
    whole = file.read_bytes()
    member = torch_zip.read_pickle(file)
    look = checked(file)

    def read(drawn: tuple[bool, bytes]) -> None:
        inner, data = drawn
        look(packed({"archive/data.pkl": data, "archive/version": b"3\n"}, "zip") if inner else data)
        assert isinstance(import_source("anns_pt", file), Dataset)

    near = st.tuples(st.just(False), mutated([whole])), st.tuples(st.just(True), mutated([member]))
    fuzz(read, st.one_of(*near))


def test_pickles(tmp_path: Path) -> None:
    value = {"gnd": [{"bbx": [1.5, 2, 3, 4], "easy": [1], "hard": [], "junk": [2]}], "imlist": ["a"], "qimlist": ["b"]}
    arrays = {"a": np.arange(6).reshape(2, 3), "f": np.float32(2.5), "s": {1, 2}, "t": (None, True, b"x", "é")}
    samples = [pickle.dumps(value, protocol) for protocol in range(2, 6)] + [pickle.dumps(arrays, 4)]
    fuzz(lambda data: unpickle(data, arrays=True), mutated(samples))
    fuzz(checked(tmp_path / "gnd_x.pkl"), mutated(samples[:4]))


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz"])
def test_archives(tmp_path: Path, kind: str) -> None:
    members = {"a/one.png": picture("PNG"), "a/two.txt": b"text" * 50, "b.json": json.dumps(TASKS).encode()}
    whole = packed(members, kind)
    samples = [whole] if kind != "w:gz" else [whole, gzip.decompress(whole)]
    end = {"zip": "x.zip", "w": "x.tar", "w:gz": "x.tar.gz"}[kind]
    fuzz(checked(tmp_path / end), mutated(samples))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_pictures(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"x.{kind.lower()}"
    look = checked(file)

    def read(data: bytes) -> None:
        look(data)
        read_header(file)

    fuzz(read, mutated([picture(kind)] + ([picture(kind, "L")] if kind != "WEBP" else [])))


def test_brush_masks() -> None:
    mask = np.zeros((40, 60), bool)
    mask[3:9, 5:50] = True
    stream = bytes(brush.encode(geometry.rle_from_mask(mask)))

    def read(data: bytes) -> None:
        try:
            assert brush.decode(list(data), 60, 40).size == (40, 60)
        except ValueError as error:
            raise CurateError("brush mask", str(error)) from error

    fuzz(read, mutated([stream]))


def test_run_lengths() -> None:
    mask = np.zeros((40, 60), bool)
    mask[3:9, 5:50] = True
    counts = geometry.rle_from_mask(mask).counts.encode()

    def read(drawn: tuple[bytes, int, int]) -> None:
        text = drawn[0].decode("latin-1")
        runs, offsets, good = runlengths.decode(pa.array([text], pa.large_string()))
        sides = (np.array([side]) for side in drawn[1:])
        faults = runlengths.faults(runs, offsets, good, *sides)
        rle = Rle((drawn[1], drawn[2]), text)
        assert (geometry.check_rle(rle) is None) == (not faults)
        if not faults:
            assert geometry.rle_area(rle) <= drawn[1] * drawn[2]

    fuzz(read, st.tuples(mutated([counts]), st.sampled_from([40, 1, 0, 10**5]), st.sampled_from([60, 1, 10**5])))


def test_polygons() -> None:
    number = st.one_of(st.floats(), st.integers(-(10**30), 10**30), st.sampled_from([1e15, -0.0, None, "1", True]))

    def read(ring: list[Any]) -> None:
        if geometry.check_ring(ring, 60, 40) is None:
            assert geometry.rle_from_polygons([[ring]], 60, 40).size == (40, 60)

    fuzz(read, st.lists(number, max_size=12))


@pytest.mark.parametrize("form", ["json", "trec", "parquet", "npy", "npz", "pickle"])
def test_results(voxdet: Dataset, tmp_path: Path, form: str) -> None:
    truth = evaluate.read_truth("soir", voxdet)
    queries = voxdet.table("queries")["id"].to_pylist()[:3]
    gallery = voxdet.table("images")["id"].to_pylist()[:6]
    scores = {query: {item: 1.0 / (i + 1) for i, item in enumerate(gallery)} for query in queries}
    rows = [(query, item, score) for query in queries for item, score in scores[query].items()]
    samples = {
        "json": json.dumps(scores).encode(),
        "trec": "".join(f"{query} Q0 {item} 0 {score} run\n" for query, item, score in rows).encode(),
        "pickle": pickle.dumps(scores),
    }
    stream = io.BytesIO()
    ranks = np.argsort(np.random.default_rng(0).random((len(gallery), len(queries))), axis=0)
    if form == "npy":
        np.save(stream, ranks)
    elif form == "npz":
        np.savez(stream, ranks=ranks)
    elif form == "parquet":
        columns = dict(zip(("query", "item", "score"), map(list, zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(columns), stream)
    ending = {"trec": "txt", "pickle": "pkl"}.get(form, form)
    file = tmp_path / f"x.{ending}"

    def read(data: bytes) -> None:
        file.write_bytes(data)
        results = evaluate.read_results([file], truth)
        evaluate.score("soir", truth, results)

    fuzz(read, mutated([samples.get(form) or stream.getvalue()]))


@pytest.mark.parametrize("preset", ["searchad", "revisitop", "soir", "ilias", "instre", "pixel_retrieval"])
def test_truth_of_benchmarks(voxdet: Dataset, tmp_path: Path, preset: str) -> None:
    tree = {"soir": "voxdet"}.get(preset, preset)
    root = write_tree(tree, tmp_path / "raw")
    if preset == "soir":
        anns_pt.write(voxdet, root / "anns.pt")
    if preset == "instre":
        gnd = np.zeros((1, 1), dtype=[("ok", object), ("bbx", object)])
        gnd[0, 0] = (np.array([[1.0, 2.0]]), np.zeros((1, 4)))
        lists = {"imlist": ["a/1.jpg", "a/2.jpg"], "qimlist": ["a/9.jpg"]}
        cells = {key: np.array([value], dtype=object) for key, value in lists.items()}
        savemat(str(root / "gnd_instre.mat"), {**cells, "gnd": gnd})
    endings = {"searchad": ".json", "revisitop": ".pkl", "soir": ".pt", "ilias": ".txt", "instre": ".mat"}
    ending = endings.get(preset, ".npy")
    files = [file for file in sorted(root.rglob("*")) if file.suffix == ending]
    assert files
    held = {file: file.read_bytes() for file in files}

    def read(drawn: tuple[Path, bytes]) -> None:
        file, data = drawn
        file.write_bytes(data)
        try:
            evaluate.read_truth(preset, file if preset != "ilias" else file.parent)
        finally:
            file.write_bytes(held[file])

    near = st.sampled_from(files).flatmap(lambda file: st.tuples(st.just(file), mutated([held[file]])))
    fuzz(read, near)


def test_dataset_folders(voxdet: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "ds"
    store.write(voxdet, folder)
    (folder / "problems.jsonl").write_text('{"code":"N05","severity":"info","where":"a","message":"b"}\n')
    held = {file: file.read_bytes() for file in sorted(folder.iterdir())}

    def read(drawn: tuple[Path, bytes]) -> None:
        file, data = drawn
        file.write_bytes(data)
        try:
            dataset = store.read(folder)
            store.read_problems(folder)
            assert verify(dataset, level="quick").verdict in ("errors", "no errors")
        finally:
            file.write_bytes(held[file])

    fuzz(read, st.sampled_from(sorted(held)).flatmap(lambda file: st.tuples(st.just(file), mutated([held[file]]))))


def test_releases(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    (folder / "in").mkdir(parents=True)
    (folder / "in/a").write_bytes(b"")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    def read(data: bytes) -> None:
        (folder / "SHA256SUMS").write_bytes(data)
        assert verify(folder).kind == "release"

    fuzz(read, mutated([f"{digest}  in/a\n".encode(), f"{digest}  in/a\n{digest} *b\n".encode()]))


def test_plans_and_logs(tmp_path: Path) -> None:
    text = plan.write_plan(plan.preset("pixel-retrieval", ["ann", "bob", "cy"]))
    fuzz(lambda data: plan.read_plan(data.decode("utf-8", "replace"), "plan.yaml"), mutated([text.encode()]))
    events = b'{"key":"a","kind":"item","item":"x"}\n{"key":"b","kind":"answer","item":"x","person":"ann","round":0}\n'
    file = tmp_path / "events.jsonl"

    def read(data: bytes) -> None:
        file.write_bytes(data)
        log.load(file)

    fuzz(read, mutated([events]))


def test_recipes(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    folder = Path(tables.__file__).parents[1] / "recipes"
    samples = [one.read_bytes() for one in sorted(folder.glob("*.yaml"))]
    commands = RecipeCommands()

    def read(data: bytes) -> None:
        file.write_bytes(data)
        reading.read(str(file), commands)

    fuzz(read, mutated(samples))


def test_small_tables(tmp_path: Path) -> None:
    toml, taxonomy, form = tmp_path / "s.toml", tmp_path / "mine.tsv", tmp_path / "form.json"

    def read_severities(data: bytes) -> None:
        toml.write_bytes(data)
        severities.read(toml)

    def read_taxonomy(data: bytes) -> None:
        taxonomy.write_bytes(data)
        tables.load(taxonomy)

    def read_form(data: bytes) -> None:
        form.write_bytes(data)
        submission.read_form(form)

    folder = Path(tables.__file__).parents[1] / "taxonomies"
    fuzz(read_severities, mutated([b'[severity]\nR08 = "error"\n']))
    fuzz(
        read_taxonomy,
        mutated([(folder / "coarse.tsv").read_bytes()[:2000], (folder / "native.tsv").read_bytes()[:2000]]),
    )
    fuzz(read_form, mutated([b'{"images": {"a": 1}, "classes": ["cup"]}']))


def test_mutations_reach_the_whole_sample() -> None:
    assert changed(b"abcdef", [("cut", 0.5, 0, b"")]) == b"abc"
    assert changed(b"abcdef", [("drop", 0.5, 2, b"")]) == b"abcf"
    assert changed(b"abcdef", [("put", 0.5, 0, b"-")]) == b"abc-def"
    assert changed(b"a 12 b", [("number", 0.1, 0, b"NaN")]) == b"a NaN b"

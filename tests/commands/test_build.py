"""``info``, ``merge`` and ``build`` as a person types them: what they print, write and refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image as PilImage

from curate import store
from curate.dataset import Dataset, from_records
from curate.model import (
    Annotation,
    Category,
    Command,
    Coverage,
    Image,
    Info,
    Member,
    Query,
    Record,
    RelevanceRule,
    finding,
)

Run = Callable[..., subprocess.CompletedProcess[str]]


def dataset(name: str, *extra: Record, images: str = "abc") -> Dataset:
    records: list[Record] = [
        Category(name="car"),
        Category(name="bus"),
        Coverage(scope="s/train", category="*", state="exhaustive"),
    ]
    for n, key in enumerate(images):
        records.append(Image(id=f"s/{key}", source="s", source_split="train", width=100, height=100, weather="fog"))
        for number, (category, w) in enumerate([("car", 10 + n), ("bus", 50)]):
            records.append(
                Annotation(id=f"s/{key}#{number}", image_id=f"s/{key}", category=category, x=0, y=0, w=w, h=w)
            )
    command = Command(verb="import", options={"source": "s"})
    return from_records(Info(name=name, command=command), [*records, *extra])


@pytest.fixture
def here(tmp_path: Path) -> Path:
    store.write(dataset("one", finding("N01", "s", "label 'x'")), tmp_path / "one")
    return tmp_path


def test_subset_then_split_then_info(here: Path, curate: Run) -> None:
    done = curate("build", "subset", "one", "--size", "<0.15", "-o", "small")
    assert done.stdout.splitlines() == [
        "input: 3 images, 6 annotations",
        "size <0.15: 3 images, 3 annotations",
        "images no longer honest negatives of a class: 3 images, 3 annotations, 3 rows of coverage",
        "small: 3 images, 3 annotations, 2 categories, 4 coverage",
    ]
    done = curate("build", "split", "query-gallery", "small", "--target", "category", "-o", "split", "--json")
    result = json.loads(done.stdout)
    assert result["output"] == "split"
    assert result["counts"]["queries"] == 1
    assert result["fingerprint"] == store.read(here / "split").fingerprint()
    assert store.read(here / "split").table("queries")["annotation_id"].to_pylist() == ["s/c#0"]
    text = curate("info", "split").stdout
    for line in (
        "retrieval by category: 1 queries (1 box) from 1 images, 2 gallery images",
        "coverage: exhaustive (1 rows for splits), partial (3 rows for images)",
        "  one " + result["fingerprint"][:12] + ": build split query-gallery",
    ):
        assert line in text
    assert text.index("build split") < text.index('build subset size=["<0.15"]') < text.index('import source="s"')


def test_info_counts_the_findings_of_the_import(here: Path, curate: Run) -> None:
    assert "N01           1  label not in the source's label table" in curate("info", "one").stdout
    summary = json.loads(curate("info", "one", "--json").stdout)
    assert summary["problems"] == {"N01": 1}
    assert curate("info", "one", "-q").stdout == ""


def test_info_shows_twenty_classes_and_tells_of_the_rest(tmp_path: Path, curate: Run) -> None:
    data = dataset("many", *[Category(name=f"class {n:02d}") for n in range(30)])
    store.write(data, tmp_path / "many")
    text = curate("info", "many").stdout
    assert "class 17" in text
    assert "class 18" not in text
    assert "... and 12 more with 0 annotations, 12 of them with none" in text


def test_dry_run_writes_nothing(here: Path, curate: Run) -> None:
    before = sorted(here.iterdir())
    done = curate("build", "subset", "one", "--where", "weather == 'fog' and w > 11", "--dry-run")
    assert done.stdout.splitlines()[1] == "where weather == 'fog' and w > 11: 3 images, 4 annotations"
    assert done.stdout.splitlines()[-1].startswith("nothing written; it would be: 3 images, 4 annotations")
    curate("build", "split", "query-gallery", "one", "--dry-run", "-o", "x", "--json")
    assert sorted(here.iterdir()) == before


def test_given_queries_come_from_a_file(here: Path, curate: Run) -> None:
    (here / "ids.txt").write_text("\ufeffs/a#0\n\n s/b#1 \n", "utf-8")
    arguments = ["build", "split", "query-gallery", "one", "--target", "category", "--queries", "ids.txt"]
    curate(*arguments, "-o", "out")
    assert store.read(here / "out").table("queries")["annotation_id"].to_pylist() == ["s/a#0", "s/b#1"]
    (here / "ids.txt").write_bytes(b"\n")
    assert "ids.txt: names no annotation; expected ids" in curate(*arguments, "-o", "x", code=2).stderr
    (here / "ids.txt").write_bytes(b"s/a#0\n\xff")
    assert "ids.txt: is no UTF-8 text (byte 6)" in curate(*arguments, "-o", "x", code=2).stderr
    assert not (here / "x").exists()


def test_support(here: Path, curate: Run) -> None:
    done = curate("build", "support", "one", "-n", "1", "--template", "a {}", "-o", "out")
    assert done.stdout.splitlines()[2] == (
        "support: 1 of each category: 2 targets, 2 targets with examples, 2 images, 2 pictures, 1 sources, 4 texts"
    )
    assert set(store.read(here / "out").table("members")["role"].to_pylist()) == {"gallery", "support"}
    done = curate("build", "support", "one", "--from", "train", "-o", "x", code=1)
    assert "dataset 'one': no image is left to be searched; expected images that are" in done.stderr
    assert not (here / "x").exists()


def test_leakage(here: Path, curate: Run) -> None:
    records = [
        Image(id=f"s/{key}", source="s", split=split, file_name=f"{key}.png", sha256=sha * 32)
        for key, split, sha in (("x", "train", "aa"), ("y", "test", "aa"), ("z", "test", "bb"))
    ]
    for key in "xyz":
        PilImage.new("L", (40, 30), 9).save(here / f"{key}.png")
    store.write(from_records(Info(name="two", roots={"s": str(here)}), records), here / "two")
    done = curate("build", "leakage", "two", "--forbid", "copy", "--forbid", "near", "-o", "x", code=1)
    assert [line.split(";")[0] for line in done.stderr.splitlines()[:2]] == [
        "curate: dataset 'two': leaks by copy: 2 images that share their content stand on 2 sides:"
        " s/y in test, s/x in train",
        "curate: dataset 'two': leaks by near: 3 images that share their looks stand on 2 sides:"
        " s/y in test, s/x in train",
    ]
    assert not (here / "x").exists()
    done = curate("build", "leakage", "two", "--look", "near", "--fix", "move", "-o", "out")
    assert "moved: 1 images" in done.stdout
    assert store.read(here / "out").table("images")["split"].to_pylist() == ["test", "test", "test"]
    store.write(from_records(Info(name="three"), records), here / "three")
    arguments = ["build", "leakage", "three", "--look", "near", "--dry-run"]
    assert "give --root s=" in curate(*arguments, code=2).stderr
    assert "leaks by near: found: 1 links, 3 images" in curate(*arguments, "--root", "s=.").stdout
    assert "neither a gallery nor two splits" in curate("build", "leakage", "one", "-o", "y", code=2).stderr


def test_leakage_by_embeddings(here: Path, curate: Run) -> None:
    split = {"x": "train", "y": "test", "z": "test"}
    records = [Image(id=f"s/{key}", source="s", split=name) for key, name in split.items()]
    store.write(from_records(Info(name="two"), records), here / "two")
    np.savez(here / "v.npz", id=np.array(["s/x", "s/y", "s/z"]), vector=[[1, 0], [0.99, 0.1], [0, 1]])
    arguments = ["build", "leakage", "two", "--embeddings", "v.npz"]
    done = curate(*arguments, "--forbid", "embedding", "-o", "out", code=1)
    assert "leaks by embedding: 2 images that share their embedding stand on 2 sides" in done.stderr
    done = curate(*arguments, "--look", "embedding", "--fix", "drop", "-o", "out", "--index", "faiss")
    assert "leaks by embedding: found: 1 links, 2 images" in done.stdout
    made = store.read(here / "out")
    assert made.table("images").num_rows == 2
    assert made.info.command
    assert made.info.command.options["embeddings"] == sha256((here / "v.npz").read_bytes()).hexdigest()
    done = curate(*arguments, "--look", "embedding", "--min-cosine", "0.999", "--dry-run")
    assert "leaks by embedding: none" in done.stdout
    assert "is given, and nobody looks at it" in curate(*arguments, "--dry-run", code=2).stderr
    said = curate("build", "leakage", "two", "--look", "embedding", "--dry-run", code=2).stderr
    assert "--embeddings: is missing; expected together with --look embedding" in said
    (here / "v.npz").write_bytes(b"PK")
    said = curate(*arguments, "--look", "embedding", "--dry-run", code=2).stderr
    assert said == (
        "curate: v.npz: is no .npz file of plain arrays;"
        " expected arrays (or Parquet columns) id (n) and vector (n, d)\n"
    )


def test_train_val_test(here: Path, curate: Run) -> None:
    done = curate("build", "split", "train-val-test", "one", "--share", "train=0.6", "--share", "test=0.4", "-o", "out")
    assert done.stdout.splitlines()[1:3] == [
        "split train: 2 images, 4 annotations, 2 classes, 0 sequences",
        "split test: 1 images, 2 annotations, 2 classes, 0 sequences",
    ]
    assert sorted(store.read(here / "out").table("images")["split"].to_pylist()) == ["test", "train", "train"]
    arguments = ["one", "--share", "train=0.6", "--share", "test=0.4", "--assign", "s=train", "--strict", "-o", "x"]
    done = curate("build", "split", "train-val-test", *arguments, code=1)
    assert done.stderr.splitlines()[0].startswith("curate: category bus: is not in test: its sources are not assigned")
    assert not (here / "x").exists()


def test_subset_is_the_same_on_every_run_and_unchanged_tables_are_linked(here: Path, curate: Run) -> None:
    for name in ("x", "y"):
        curate("build", "subset", "one", "--class", "car", "--drop-empty", "-o", name)
    files = {name: {f.name: f.read_bytes() for f in (here / name).iterdir()} for name in ("x", "y")}
    assert files["x"] == files["y"]
    assert (here / "x" / "images.parquet").samefile(here / "one" / "images.parquet")


def test_merge(here: Path, curate: Run) -> None:
    store.write(dataset("two", images="cd"), here / "two")
    # Image c is in both, as another car: its box is one pixel larger in one.
    done = curate("merge", "one", "two", "-o", "both", code=1)
    assert done.stderr.splitlines()[0].startswith(
        "curate: table annotations, row id='s/c#0', column w: 12.0 in one, 10.0 in two; expected equal values"
    )
    assert not (here / "both").exists()
    store.write(dataset("three", images="ab"), here / "three")
    done = curate("merge", "one", "three", "-o", "both")
    assert done.stdout == "both: 3 images, 6 annotations, 2 categories, 1 coverage\n"
    assert store.read(here / "both").fingerprint() == store.read(here / "one").fingerprint()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "nowhere"], 1, "nowhere: no such folder"),
        (["info", "."], 1, "has no dataset.json"),
        (["merge", "one", "-o", "x"], 2, "merge: was given one dataset; expected two or more"),
        (["merge", "one", "nowhere", "-o", "x"], 1, "nowhere: no such folder"),
        (["build", "subset", "one"], 2, "--output: is missing; expected -o and a folder to write, or --dry-run"),
        (["build", "subset", "one", "-o", "one"], 2, "one: is also an input"),
        (["build", "subset", "one", "-o", "x", "--size", "0.15"], 2, "size '0.15': is no bound; expected"),
        (["build", "subset", "one", "-o", "x", "--class", "cra"], 2, "did you mean car?"),
        (["build", "subset", "one", "-o", "x", "--split", "val"], 2, "split 'val': is not in the dataset"),
        (
            ["build", "subset", "one", "-o", "x", "--where", "weather = 'fog'"],
            2,
            "--where \"weather = 'fog'\", character 9: invalid syntax",
        ),
        (["build", "subset", "one", "-o", "x", "--where", "wether == 'fog'"], 2, "did you mean weather?"),
        (["build", "split", "query-gallery", "one", "-o", "x", "--keep-members"], 2, "the dataset has no queries"),
        (
            ["build", "split", "query-gallery", "one", "-o", "x", "--target", "instance"],
            1,
            "dataset 'one': no query can be chosen among 0 targets (instance)",
        ),
        (["build", "split", "query-gallery", "one", "-o", "x", "--rule", "best"], 2, "Invalid value for '--rule'"),
        (["build", "split", "train-val-test", "one", "-o", "x", "--share", "train"], 2, "--share 'train': is no share"),
        (
            ["build", "split", "train-val-test", "one", "-o", "x", "--share", "a=0.5"],
            2,
            "shares: 0.5 is 0.5; expected 1",
        ),
        (["build", "split", "train-val-test", "one", "-o", "x", "--assign", "t=val"], 2, "assign t: no image is of it"),
        (["build", "split", "train-val-test", "one", "-o", "x", "--assign", "s=vla"], 2, "names split 'vla'"),
        (
            ["build", "subset", "one", "-o", "x", "--attribute", "wether=fog"],
            2,
            "no one of the images has 'wether'; expected one of date_evidence, licence, place",
        ),
        (["build", "subset", "one", "-o", "one/x"], 2, "one/x: lies in the input one; nothing is changed in place"),
        (["build", "subset", "one", "-o", "x", "--supercategory", "v"], 2, "the dataset has no supercategory at all"),
        (["build", "split", "train-val-test", "one", "-o", "x", "--share", "=1"], 2, "share 1: names no split"),
        (["build", "split", "query-gallery", "one", "-o", "x", "--min-area", "nan"], 2, "--min-area: is nan"),
        (["build", "support", "one", "-o", "x", "--min-area", "inf"], 2, "--min-area: is inf; expected an area in px²"),
        (["build", "leakage", "one", "-o", "x", "--look", "time", "--before", "May"], 2, "--before 'May': is no date"),
        (
            ["build", "split", "query-gallery", "one", "-o", "x", "--kind", "mask"],
            1,
            "among 2 targets (category): none of them has a mask; expected annotations of truth with masks",
        ),
        (["build", "subset", "one", "-o", "x", "--preset", "instre-xs"], 2, "no image is of source instre"),
        (["build", "subset", "one", "-o", "x", "--sample", "1.5"], 2, "sample '1.5': is no size"),
        (["build", "subset", "one", "-o", "x", "--size-of", "largest"], 2, "given without --size or --area"),
    ],
)
def test_refusals(here: Path, curate: Run, arguments: list[str], code: int, message: str) -> None:
    before = sorted(here.iterdir())
    done = curate(*arguments, code=code)
    assert message in done.stderr
    assert done.stdout == ""
    assert sorted(here.iterdir()) == before


def test_an_output_is_replaced_only_when_asked(here: Path, curate: Run) -> None:
    for arguments in (["build", "subset", "one"], ["build", "split", "query-gallery", "one", "--target", "category"]):
        curate(*arguments, "-o", "out", "--overwrite")
        assert "already exists; give --overwrite" in curate(*arguments, "-o", "out", code=2).stderr


def test_none_of_them_imports_pandas(here: Path, curate: Run) -> None:
    program = (
        "import sys; sys.argv = ['curate', *sys.argv[1:]]\n"
        "import curate.commands\n"
        "try: curate.commands.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print('pandas' in sys.modules)"
    )
    commands: list[list[Any]] = [
        ["info", "one"],
        ["merge", "one", "one", "-o", "m"],
        ["build", "subset", "one", "--size", "<0.15", "-o", "s"],
        ["build", "split", "query-gallery", "one", "--target", "category", "-o", "q"],
    ]
    for arguments in commands:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=here, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "False", arguments


def test_frames_can_still_be_had_in_a_command(here: Path) -> None:
    program = (
        "import click, sys\n"
        "from curate.commands.options import report_options\n"
        "@click.command()\n"
        "@report_options\n"
        "def command(as_json, quiet):\n"
        "    import curate, pyarrow as pa\n"
        "    data = curate.read('one'); pa.array([1]); assert 'pandas' not in sys.modules\n"
        "    print(len(data.annotations), data.annotations.w.max())\n"
        "command([])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=here, capture_output=True, text=True, check=True)
    assert done.stdout == "6 50.0\n"


@pytest.fixture
def with_test(here: Path) -> Path:
    records = [
        Image(id="s/t", source="s", split="test", width=9, height=9),
        Annotation(id="s/t#0", image_id="s/t", category="bus", x=0, y=0, w=5, h=5, origin="human:ann"),
        Annotation(id="s/t#1", image_id="s/t", category="car", x=0, y=0, w=5, h=5),
    ]
    store.write(dataset("two", *records), here / "two")
    return here


def test_a_hidden_test_and_its_key(with_test: Path, curate: Run) -> None:
    arguments = ("build", "hidden", "two", "--split", "test", "-o", "public", "--key", "key")
    dry = curate(*arguments, "--dry-run")
    assert "nothing written; the public part would be: 4 images, 6 annotations" in dry.stdout
    assert not (with_test / "public").exists() and not (with_test / "key").exists()
    done = curate(*arguments)
    assert done.stdout.splitlines() == [
        "hidden: 1 images, 2 truth of targets, 0 left out",
        "implied by public labels: 1 truth",
        "warning Q10 category car: public labels imply 1 of its 1 images, 100%",
        "public: 4 images, 6 annotations, 2 categories, 2 coverage, 1 members",
        "key: 1 images, 2 annotations, 2 categories, 1 coverage, 1 members",
    ]
    assert "s/t#0" not in store.read(with_test / "public").table("annotations")["id"].to_pylist()
    again = json.loads(curate(*arguments, "--overwrite", "--json").stdout)
    assert again["fingerprint"] == store.read(with_test / "public").fingerprint()
    assert again["key_fingerprint"] == store.read(with_test / "key").fingerprint()
    assert again["shares"][1] == {"target": "car", "images": 1, "implied": 1}
    # No byte of what is published says where the key is, or what it is.
    for path in (with_test / "public").iterdir():
        assert again["key_fingerprint"].encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "public"), "--key: is missing"),
        (("--key", "key"), "--output: is missing"),
        (("-o", "public", "--key", "public/key"), "public/key: is the output, or lies in public"),
        (("-o", "key/public", "--key", "key"), "key/public: is the output, or lies in key"),
        (("-o", "same", "--key", "same"), "same: is the output"),
        (("-o", "public", "--key", "one"), "one: already exists"),
        (("-o", "public", "--key", "key", "--split", "dev"), "--split: no image is of split 'dev'"),
    ],
)
def test_a_hidden_test_that_is_refused(with_test: Path, curate: Run, arguments: tuple[str, ...], said: str) -> None:
    before = sorted(path.name for path in with_test.iterdir())
    done = curate("build", "hidden", "two", "--split", "test", *arguments, code=2)
    assert said in done.stderr
    assert sorted(path.name for path in with_test.iterdir()) == before


def two_splits(here: Path, number: int = 1) -> None:
    """Images of two splits, without place; ``number`` pairs of equal content."""
    records = [
        Image(id=f"s/{key}{n}", source="s", split=split, file_name=f"{key}{n}.png", sha256=f"{n:02x}" * 32)
        for n in range(number)
        for key, split in (("x", "train"), ("y", "test"))
    ]
    store.write(from_records(Info(name="two"), records), here / "two")


def test_what_is_forbidden_and_unproved_fails(here: Path, curate: Run) -> None:
    two_splits(here)
    arguments = ("build", "leakage", "two", "--forbid", "near", "-o", "x")
    said = curate(*arguments, "--root", "s=gone", code=2).stderr
    assert said.startswith("curate: --root s=gone: is no folder; expected")
    said = curate(*arguments, "--root", "s=.", "--root", "t=.", code=2).stderr
    assert said.startswith("curate: --root t=.: no image is of this source; expected s")
    done = curate(*arguments, "--root", "s=.", code=1)  # no file is there
    assert "leaks by near: unproved: of 2 of 2 images it is not known" in done.stderr
    assert not (here / "x").exists()
    said = curate("build", "leakage", "two", "--root", "s=.", "-o", "x", code=2).stderr
    assert "--root: is given, and nobody looks at pictures" in said
    done = curate(*arguments, "--root", "s=.", "--allow-unproved")
    assert "leaks by near: unproved: 0 links" in done.stdout


def test_findings_are_listed(here: Path, curate: Run) -> None:
    two_splits(here, 12)
    arguments = ("build", "leakage", "two", "--look", "copy")
    lines = curate(*arguments, "-o", "x").stdout.splitlines()
    told = [line for line in lines if line.startswith("warning Q03 images, s/")]
    assert len(told) == 10
    assert told[0].endswith("2 images that share their content stand on 2 sides: s/y0 in test, s/x0 in train")
    assert "2 more findings; x/problems.jsonl has them" in lines
    assert "2 more findings; --json lists them" in curate(*arguments, "--dry-run").stdout
    findings = json.loads(curate(*arguments, "--dry-run", "--json").stdout)["findings"]
    assert [one["item"] for one in findings] == sorted(f"s/x{n}" for n in range(12))


def test_pipes_are_not_waited_for(here: Path, curate: Run) -> None:
    two_splits(here)
    for name in ("x0.png", "y0.png", "ids"):
        os.mkfifo(here / name)
    done = curate("build", "leakage", "two", "--look", "near", "--root", "s=.", "--dry-run")
    assert "leaks by near: unproved" in done.stdout
    arguments = ("build", "split", "query-gallery", "one", "--target", "category", "--dry-run")
    said = curate(*arguments, "--queries", "ids", code=1).stderr
    assert said == "curate: ids: is not a regular file; expected a text file\n"


def test_a_filter_that_nothing_passes_is_told(here: Path, curate: Run) -> None:
    done = curate("build", "subset", "one", "--attribute", "weather=snow", "--dry-run")
    said = "no one of the images says so; fog is said of weather"
    assert f"warning N03 attribute weather=snow: {said}" in done.stdout.splitlines()
    said = curate("build", "subset", "one", "--size", "<15", "--dry-run", code=2).stderr
    assert said == "curate: size '<15': is a share above 1; expected at most 1, which is 100%; did you mean <15%?\n"


def test_queries_of_a_hidden_split_are_public(with_test: Path, curate: Run) -> None:
    data = store.read(with_test / "two")
    keys = {"t": "query", "u": "gallery"}
    records: list[Record] = [
        Query(id="q", kind="box", image_id="s/t", annotation_id="s/t#0", x=0, y=0, w=5, h=5, category="bus"),
        Image(id="s/u", source="s", split="test", width=9, height=9),
        Annotation(id="s/u#0", image_id="s/u", category="bus", x=0, y=0, w=5, h=5, origin="human:ann"),
        *[Member(image_id=f"s/{key}", role=role) for key, role in keys.items()],  # type: ignore[arg-type]
    ]
    info = Info(name="three", relevance=RelevanceRule(target="category"), roots={"s": str(with_test / "raw")})
    more = from_records(info, records)
    tables = {name: pa.concat_tables([data.table(name), more.table(name)]) for name in ("images", "annotations")}
    store.write(
        data.replace(info=info, queries=more.table("queries"), members=more.table("members"), **tables),
        with_test / "three",
    )
    done = curate("build", "hidden", "three", "--split", "test", "-o", "public", "--key", "key")
    said = "hidden: 2 images, 1 truth of targets, 0 left out, 1 shown by queries or support sets\n"
    assert done.stdout.startswith(said)
    for name in ("public", "key"):
        report = json.loads(curate("verify", name, "--json").stdout)
        assert [one for one in report["findings"] if one["severity"] == "error"] == []
    assert str(with_test) not in (with_test / "public/dataset.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--share", "train=0.5", "--share", "train=1"), "--share train=1: 'train' stands in 'train=0.5' too"),
        (("--assign", "s=train", "--assign", "s=test"), "--assign s=test: 's' stands in 's=train' too"),
    ],
)
def test_what_is_said_twice_of_a_split_is_refused(
    with_test: Path, curate: Run, arguments: tuple[str, ...], said: str
) -> None:
    """The last one would win in silence."""
    done = curate("build", "split", "train-val-test", "two", *arguments, "--dry-run", code=2)
    assert done.stderr == f"curate: {said}; expected each once\n"

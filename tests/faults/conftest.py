"""Commands that write, something to work on, and runs of them that are killed, starved, robbed or told a wrong time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from curate import store
from curate.demo import tour

HERE = Path(__file__).parent
State = dict[str, str] | None  # SHA-256 by path below the output, None where nothing is


class Case(NamedTuple):
    """A command that writes. ``IN`` in an argument is the folder of inputs; outputs are named as in the arguments."""

    name: str
    arguments: str
    before: str  # makes an earlier output that differs
    outputs: tuple[str, ...] = ("out",)
    code: int = 0

    def words(self, inputs: Path, arguments: str | None = None, *more: str) -> list[str]:
        text = self.arguments if arguments is None else arguments
        return [word.replace("IN", str(inputs)) for word in text.split()] + list(more)


def _export(form: str, dataset: str = "benchmark", before: str = "small", more: str = "") -> Case:
    return Case(
        f"export {form}", f"export {form} IN/{dataset} {more} -o out", f"export {form} IN/{before} {more} -o out"
    )


CASES = [
    Case("import", "import kitti IN/raw/kitti --checksums -o out", "import kitti IN/raw/kitti -o out"),
    Case("import coco", "import coco IN/benchmark.json -o out", "import kitti IN/raw/kitti -o out"),
    Case("merge", "merge IN/kitti IN/cityscapes -o out", "merge IN/kitti IN/voxdet -o out"),
    Case(
        "relabel",
        "relabel IN/merged --taxonomy coarse -o out --report out.json",
        "relabel IN/merged --taxonomy coarse --drop-unmapped -o out --report out.json",
        ("out", "out.json"),
    ),
    Case(
        "prelabel",
        "prelabel IN/voxdet --segmenter ellipse --shard-size 5 -o out",
        "prelabel IN/voxdet --segmenter ellipse --clean 0 -o out",
    ),
    Case("build subset", "build subset IN/merged --size <0.15 -o out", "build subset IN/merged --size <0.05 -o out"),
    Case("build split", "build split query-gallery IN/small -o out", "build split query-gallery IN/voxdet -o out"),
    Case(
        "build partition",
        "build split train-val-test IN/kitti --group none -o out",
        "build split train-val-test IN/kitti --group none --seed 7 -o out",
    ),
    Case("build support", "build support IN/kitti -n 2 -o out", "build support IN/kitti -n 3 -o out"),
    Case(
        "build hidden",
        "build hidden IN/benchmark --split gallery -o out --key key",
        "build hidden IN/benchmark --split gallery --seed 7 -o out --key key",
        ("out", "key"),
    ),
    Case("build leakage", "build leakage IN/benchmark -o out", "build leakage IN/benchmark --look place -o out"),
    _export("coco"),
    _export("anns_pt", before="voxdet"),
    _export("croissant"),
    _export("parquet"),
    _export("lists"),
    Case(
        "release",
        "release IN/benchmark --with-images --format coco --format lists -o out",
        "release IN/benchmark --version 2 -o out",
    ),
    Case(
        "verify --repair",
        "verify IN/broken --repair -o out --report out.json --html out.html",
        "verify IN/kitti --repair -o out --report out.json --html out.html",
        ("out", "out.json", "out.html"),
    ),
    Case(
        "verify --html",
        "verify IN/benchmark --report out.json --html out.html",
        "verify IN/kitti --report out.json --html out.html",
        ("out.json", "out.html"),
    ),
    Case(
        "evaluate",
        "evaluate soir --truth IN/benchmark --results IN/baseline.json --details "
        "--report out.json --html out.html --csv out.csv",
        "evaluate soir --truth IN/benchmark --results IN/baseline.json -k 5 --details "
        "--report out.json --html out.html --csv out.csv",
        ("out.json", "out.html", "out.csv"),
    ),
    Case("show", "show IN/kitti -o out.png --limit 4", "show IN/kitti -o out.png --limit 2", ("out.png",)),
]


class Answer(NamedTuple):
    code: int  # negative: the signal that ended it
    wall: float
    stdout: str
    stderr: str


class Zygote:
    """Forks runs of curate (``zygote.py``)."""

    def __init__(self, log: Path) -> None:
        self.log = log
        command = [sys.executable, str(HERE / "zygote.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, arguments: Sequence[str], folder: Path, **order: Any) -> Answer:
        assert self.process.stdin and self.process.stdout
        line = json.dumps({"arguments": list(arguments), "folder": str(folder), "log": str(self.log), **order})
        print(line, file=self.process.stdin, flush=True)
        answer = Answer(**json.loads(self.process.stdout.readline()))
        assert "Traceback" not in answer.stderr, answer.stderr
        return answer

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)


def state(path: Path) -> State:
    """The bytes of an output: a file, or a folder with all that is below it."""
    if path.is_dir():
        files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if not file.is_dir()}
    else:
        files = {"": path} if path.exists() else {}
        if not files:
            return None
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in sorted(files.items())}


def states(folder: Path, case: Case) -> dict[str, State]:
    return {name: state(folder / name) for name in case.outputs}


class Bench(NamedTuple):
    """What tests work with: inputs, a place that everybody may look into, and what each command makes undisturbed."""

    inputs: Path
    place: Path
    zygote: Zygote
    made: dict[tuple[str, str], tuple[dict[str, State], float]]

    def folder(self, name: str) -> Path:
        """A new empty folder to write into, which anybody may."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name.replace(' ', '_').replace('/', '_')}-", dir=self.place))
        folder.chmod(0o777)
        return folder

    def reference(self, case: Case, arguments: str | None = None) -> tuple[dict[str, State], float]:
        """The outputs of an undisturbed run, and how long it took."""
        key = (case.name, arguments or case.arguments)
        if key not in self.made:
            folder = self.folder("reference")
            done = self.zygote.run(case.words(self.inputs, arguments), folder)
            assert done.code == case.code, done
            assert sorted(entry.name for entry in folder.iterdir()) == sorted(case.outputs)
            self.made[key] = states(folder, case), done.wall
            if arguments:
                folder.rename(self.place / f"before {case.name}")
        return self.made[key]

    def earlier(self, case: Case, folder: Path) -> dict[str, State]:
        """Put the outputs of an earlier, other run into ``folder``."""
        found, _ = self.reference(case, case.before)
        for name in case.outputs:
            there = self.place / f"before {case.name}" / name
            (shutil.copytree if there.is_dir() else shutil.copyfile)(there, folder / name)
        for entry in [folder, *folder.rglob("*")]:
            entry.chmod(0o777)
        return found


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="curate-faults-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        place.chmod(0o777)
        tour.run(place / "real")
        _break(place / "real")
        (place / "in").symlink_to("real")
        for entry in (place / "real").rglob("*"):
            entry.chmod(0o755 if entry.is_dir() else 0o644)
        (place / "log").mkdir()
        (place / "log").chmod(0o777)
        zygote = Zygote(place / "log")
        try:
            yield Bench(place / "in", place, zygote, {})
        finally:
            zygote.end()


def _break(folder: Path) -> None:
    """A dataset with faults to mend."""
    import pyarrow as pa

    dataset = store.read(folder / "kitti")
    table = dataset.table("annotations")
    at = table.schema.get_field_index("w")
    w = table["w"].to_pylist()
    w[3], w[5] = -w[3], 5000.0
    broken = dataset.replace(annotations=table.set_column(at, table.schema.field(at), pa.array(w, pa.float64())))
    store.write(broken, folder / "broken")


def seconds(wall: float, share: float) -> float:
    return max(share * wall, 0.001)


KILLS = int(os.environ.get("CURATE_KILLS", "1"))

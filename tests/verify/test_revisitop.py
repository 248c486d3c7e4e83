"""Ground truth of revisited Oxford and Paris: read without running anything, each fault alone."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.verify import Report, verify

Json = dict[str, Any]


def sound() -> Json:
    def entry() -> Json:
        return {"bbx": [1.0, 2.0, 30.5, 40.0], "easy": [0], "hard": [1, 2], "junk": []}

    return {
        "imlist": ["a", "b", "c", "d"],
        "qimlist": ["q", "r"],
        "gnd": [entry(), {**entry(), "bbx": np.array([1.0, 2.0, 3.0, 4.0]), "easy": np.array([3]), "hard": []}],
    }


@pytest.fixture
def gnd(tmp_path: Path) -> Callable[..., Report]:
    def run(damage: Callable[[Json], object] = lambda data: None) -> Report:
        data = sound()
        damage(data)
        file = tmp_path / "gnd_toy.pkl"
        file.write_bytes(pickle.dumps(data))
        return verify(file)

    return run


def test_a_sound_file(gnd: Callable[..., Report]) -> None:
    report = gnd()
    assert (report.kind, report.findings) == ("revisitop", ())
    assert report.counts == {"queries": 2, "gallery images": 4}


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda data: data["gnd"][0].update(junk=[1]), "Q05"),
        (lambda data: data["gnd"][0].update(junk=[4]), "Q05"),
        (lambda data: data["gnd"][0].update(junk=[-1]), "Q05"),
        (lambda data: data["gnd"][0].update(easy=[0, 0]), "Q05"),
        (lambda data: data["gnd"][0].update(junk=["a"]), "Q05"),
        (lambda data: data["gnd"][0].update(easy=[], hard=[]), "Q02"),
        (lambda data: data["gnd"][0].update(junk=None), "S01"),
        (lambda data: data["gnd"][0].pop("junk"), "S01"),
        (lambda data: data["gnd"][0].update(bbx=[1, 2, 3]), "B01"),
        (lambda data: data["gnd"][0].update(bbx=[1, 2, 3, float("nan")]), "B01"),
        (lambda data: data["gnd"][0].update(bbx=[9, 2, 3, 4]), "B02"),
        (lambda data: data["qimlist"].__setitem__(0, "a"), "Q01"),
        (lambda data: data["imlist"].__setitem__(3, "a"), "R01"),
        (lambda data: data["gnd"].pop(), "S01"),
        (lambda data: data.pop("gnd"), "F09"),
        (lambda data: data.update(gnd=3), "S01"),
    ],
)
def test_each_fault(gnd: Callable[..., Report], damage: Callable[[Json], object], code: str) -> None:
    report = gnd(damage)
    assert [one.code for one in report.findings] == [code]
    assert report.verdict == "errors"


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    file = tmp_path / "gnd_trap.pkl"
    file.write_bytes(pickle.dumps({"gnd": Trap()}))
    assert [one.code for one in verify(file).findings] == ["A01"]
    assert not (tmp_path / "trapped").exists()

"""Submissions to a hidden test, in SearchAD's form: ranked lists of numbers, and who sends them.

Lists are checked before they are packed: whatever is wrong with them costs score, and the organisers' program may not
say so. Numbers are those of SearchAD's mapping, or of the images of a dataset that ``curate build hidden`` made.
``evaluate`` scores a submission with the key as it scores lists of ids.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from curate.dataset import Dataset
from curate.errors import UsageError
from curate.evaluate.checks import check_lists
from curate.evaluate.ranking import Results, Truth, match
from curate.evaluate.truth_dataset import form_of
from curate.evaluate.truth_files import searchad_form
from curate.model import Finding

Numbers = Annotated[list[int], Meta(description="numbers of images, best first")]


class Submission(Struct, frozen=True, kw_only=True):
    """What is handed in."""

    metadata: Annotated[dict[str, str], Meta(description="who sends it, and what was used")]
    predictions: Annotated[dict[str, Numbers], Meta(description="a ranked list for every query")]


def read_form(path: Path | Dataset) -> Truth:
    """What a submission may name: from a dataset that hides a test, from SearchAD's folder, or from its mapping.

    Raises:
        SourceError, SchemaError: the file is missing or broken, or the dataset hides nothing.
    """
    return form_of(path) if isinstance(path, Dataset) else searchad_form(path)


def metadata(
    *, team: str, model: str, about: str, search_mode: str, uses_train: bool = False, own_queries: bool = False
) -> dict[str, str]:
    """SearchAD's fields, in its words.

    Raises:
        UsageError: a text is empty.
    """
    texts = {"Team Name": team, "Model Name": model, "Paper/Code/Affiliation": about, "Search Mode": search_mode}
    texts = {name: text.strip() for name, text in texts.items()}
    for name, text in texts.items():
        if not text:
            raise UsageError(name, "is empty", "expected a text")
    yes_no = {True: "Yes", False: "No"}
    return texts | {"SearchAD Train": yes_no[uses_train], "Default Queries": yes_no[not own_queries]}


def pack(form: Truth, results: Results, about: Mapping[str, str]) -> tuple[Submission, list[Finding]]:
    """The submission, and what is wrong with the results.

    Queries and images that the test does not have are left out, and so are later copies of an image.
    """
    assert form.numbers is not None
    ranking = match(form, results)
    names = _query_names(form)
    numbers = np.array(form.numbers.to_pylist(), np.int64)
    lists = {}
    for i, query in enumerate(ranking.query.tolist()):
        if query < 0:
            continue
        item = ranking.item[ranking.start[i] : ranking.start[i + 1]]
        item = item[item < len(numbers)]
        first = np.sort(np.unique(item, return_index=True)[1])
        lists[names[query]] = numbers[item[first]].tolist()
    return Submission(metadata=dict(about), predictions=lists), check_lists(form, ranking, results)


def _query_names(form: Truth) -> list[str]:
    """Queries by upstream's name where that is enough to know them."""
    others = list(form.other_queries or form.queries)
    known, named = set(form.queries), Counter(others)
    return [
        other if other == id or (named[other] == 1 and other not in known) else id
        for id, other in zip(form.queries, others, strict=True)
    ]


def text(submission: Submission) -> bytes:
    """The file, byte for byte as SearchAD's devkit writes it."""
    return json.dumps({"metadata": submission.metadata, "predictions": submission.predictions}).encode()

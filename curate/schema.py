"""The JSON Schemas in ``schemas/``, generated from the types: run ``python -m curate.schema`` after a type changed.

There is one for every JSON that leaves the house: ``dataset.json``, a line of ``problems.jsonl``, the report of
``verify``, ``relabel`` and ``evaluate``, a submission, the changes of a release, what commands print with ``--json``
(``result-VERB`` where it is no report), a review's plan and a line of its log, a recipe and ``run.json``; and one for
a row of each table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from curate.evaluate.report import Evaluation
from curate.evaluate.submission import Submission
from curate.model import TABLES, Finding, Source
from curate.recipe.records import Recipe, Record
from curate.releasing import Changes
from curate.results import RESULTS
from curate.review.log import Event
from curate.review.plan import Plan
from curate.review.records import Measured
from curate.review.report import Status
from curate.store import Manifest
from curate.summary import Summary
from curate.taxonomy import Relabelled
from curate.verify.report import Report

# The top-level schemas/, which curate/schemas links to.
FOLDER = Path(__file__).parent / "schemas"


def generate() -> dict[str, dict[str, Any]]:
    """The schemas by file name without ``.json``."""
    types: dict[str, Any] = {
        "changes": Changes,
        "dataset": Manifest,
        "evaluate": Evaluation,
        "finding": Finding,
        "info": Summary,
        "plan": Plan,
        "recipe": Recipe,
        "relabel": Relabelled,
        "review-agreement": Measured,
        "review-event": Event,
        "review-status": Status,
        "run": Record,
        "source": Source,
        "submission": Submission,
        "verify": Report,
    }
    types |= {spec.record.__name__.lower(): spec.record for spec in TABLES.values()}
    types |= {f"result-{verb}": kind for verb, kind in RESULTS.items()}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: head | msgspec.json.schema(kind) for name, kind in sorted(types.items())}


def texts() -> dict[str, str]:
    """The schemas as their files hold them, by file name."""
    return {
        f"{name}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in generate().items()
    }


def rewrite(folder: Path = FOLDER) -> None:
    """Write the schemas into ``folder``, and remove those that are no longer generated."""
    wanted = texts()
    for file in folder.glob("*.json"):
        if file.name not in wanted:
            file.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    rewrite()

"""Result lists by class: which images a search for a class brings first, whatever its queries are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate import relevance
from curate.columns import plain
from curate.dataset import Dataset, conform, table_of
from curate.errors import UsageError
from curate.evaluate.ranking import match
from curate.evaluate.results import read_results
from curate.evaluate.truth_dataset import truth_of
from curate.model import Query


def ranks_by_class(dataset: Dataset, files: Sequence[Path], classes: Sequence[str] = ()) -> dict[str, list[str]]:
    """By class, the ids of the images that ``files`` list, best first; of several lists the best rank counts.

    A list is named by a class, or by a query of the dataset that asks for one. Images may go by all names that
    evaluation takes; foreign ones are passed over. ``classes`` are the dataset's if empty.

    Raises:
        SourceError: a file cannot be read.
        UsageError: no list is of any of the classes.
    """
    names = list(classes) or plain(dataset.table("categories")["name"]).to_pylist()
    own = conform("queries", dataset.table("queries"))
    there = set(own["id"].to_pylist())
    added = [Query(id=name, kind="text", text=name, category=name) for name in names if name not in there]
    asked = dataset.replace(queries=pa.concat_tables([own, conform("queries", table_of("queries", added))]))
    truth = truth_of(asked)
    targets = relevance.targets(asked)
    category = dict(zip(targets["query_id"].to_pylist(), plain(targets["category"]).to_pylist(), strict=True))
    category |= {name: name for name in names}
    ranking = match(truth, read_results(list(files), truth))
    best: dict[str, dict[int, int]] = {name: {} for name in names}
    for i, query in enumerate(ranking.query.tolist()):
        wanted = category.get(truth.queries[query]) if query >= 0 else None
        if wanted in best:
            ranks = best[wanted]
            listed = ranking.item[ranking.start[i] : ranking.start[i + 1]]
            for rank in np.flatnonzero(listed < len(truth.items)).tolist():
                image = int(listed[rank])
                ranks[image] = min(rank, ranks.get(image, rank))
    if not any(best.values()):
        named = ", ".join(str(file) for file in files)
        raise UsageError(
            named, "no list is of a class of the audit", f"expected queries named as {', '.join(names[:5])}"
        )
    ids = truth.items
    return {
        name: [ids[image].as_py() for image in sorted(ranks, key=lambda k: (ranks[k], k))]
        for name, ranks in best.items()
    }

"""Queries that find nothing but themselves: every positive is linked with the query's own image.

A query whose only positive is its own near-duplicate measures whether a system finds copies. It is named wherever such
links are looked for, whether or not a fix then takes the positives, and the query with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import relevance
from curate.columns import positions
from curate.dataset import Dataset
from curate.model import Finding, finding

Ints = NDArray[np.int64]


def selfish_queries(dataset: Dataset, links: Mapping[Any, Ints], shared: Mapping[Any, str]) -> list[Finding]:
    """A finding for each query whose positives all share a link with its own image.

    Args:
        links: for each kind, per image the number of what links it to others; -1 where that is not known.
        shared: for each kind, what linked images share, in words.
    """
    queries, ids = dataset.table("queries"), dataset.table("images")["id"]
    own = positions(queries["image_id"], ids)
    linked = own >= 0
    several = np.zeros(len(ids), bool)  # linked with any other image
    for code in links.values():
        known = np.flatnonzero(code >= 0)
        several[known] |= np.bincount(code[known])[code[known]] > 1
    linked &= several[own]
    if not linked.any():
        return []
    asked = queries["id"].filter(pa.array(linked))
    pairs = relevance.relevance(dataset, asked.to_pylist())
    pairs = pairs.filter(pc.is_in(pairs["label"], value_set=pa.array(relevance.POSITIVE)))
    query, image = positions(pairs["query_id"], asked), positions(pairs["image_id"], ids)
    of_query = own[linked]
    same = {kind: (code[image] >= 0) & (code[image] == code[of_query[query]]) for kind, code in links.items()}
    any_kind = np.zeros(len(query), bool)
    for mask in same.values():
        any_kind |= mask
    number = np.bincount(query, minlength=len(asked))
    alone = (number > 0) & (np.bincount(query[any_kind], minlength=len(asked)) == number)
    found = []
    for at in np.flatnonzero(alone).tolist():
        rows = query == at
        kinds = " or ".join(shared[kind] for kind, mask in same.items() if mask[rows].any())
        name, many = asked[at].as_py(), int(number[at])
        what = "its only positive shares" if many == 1 else f"all of its {many:,} positives share"
        text = f"{what} {kinds} with its own image: it finds nothing but itself"
        found.append(finding("Q02", f"query {name}", text, item=name, severity="warning"))
    return found

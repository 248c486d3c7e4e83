"""Q: queries and gallery."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from curate.columns import positions
from curate.model import Finding, finding
from curate.relevance import overview, targets
from curate.verify.subject import Mask, Subject


def has_role(subject: Subject, *roles: str) -> Mask:
    """For each image, whether it has one of ``roles``."""
    role = subject.column("members", "role")
    named = np.isin(role.to_numpy(zero_copy_only=False).astype(object), roles) if len(role) else np.zeros(0, bool)
    mask = np.zeros(subject.table("images").num_rows + 1, bool)
    mask[positions(subject.column("members", "image_id"), subject.column("images", "id"))[named]] = True
    return mask[:-1]


def query_images(subject: Subject) -> Mask:
    """For each image, whether it is, or holds, a query."""
    mask = np.append(has_role(subject, "query"), False)
    mask[positions(subject.column("queries", "image_id"), subject.column("images", "id"))] = True
    return mask[:-1]


def query_in_gallery(subject: Subject) -> Iterator[Finding]:
    """Q01: an image that is a query and stands in the gallery too."""
    both = query_images(subject) & has_role(subject, "gallery", "distractor")
    for row in np.flatnonzero(both).tolist():
        name = subject.item("images", row)
        text = f"image {name} is a query and stands in the gallery; expected one or the other"
        yield finding("Q01", f"members, {name}", text, item=name)


def query_copy_in_gallery(subject: Subject) -> Iterator[Finding]:
    """Q01 by content: a gallery image with the bytes of another, which is a query."""
    hashes = subject.column("images", "sha256")
    if hashes.null_count == len(hashes):
        return
    codes = pc.fill_null(hashes.combine_chunks().dictionary_encode().indices, -1).to_numpy().astype(np.int64)
    queries, gallery = query_images(subject), has_role(subject, "gallery", "distractor")
    first = {
        code: row for row in np.flatnonzero(queries & (codes >= 0))[::-1].tolist() if (code := int(codes[row])) >= 0
    }
    for row in np.flatnonzero(gallery & ~queries & np.isin(codes, list(first))).tolist():
        name, query = subject.item("images", row), subject.item("images", first[int(codes[row])])
        text = f"gallery image {name} has the content of query image {query} (equal SHA-256); expected another picture"
        yield finding("Q01", f"members, {name}", text, item=name)


def without_positive(subject: Subject) -> Iterator[Finding]:
    """Q02: a query that no image of the gallery answers; where labels of its class are withheld, that is no error."""
    if subject.dataset is None or not subject.table("queries").num_rows:
        return
    found = overview(subject.dataset)
    withheld = set(
        subject.column("coverage", "category")
        .filter(pc.equal(subject.column("coverage", "state"), "withheld"))
        .to_pylist()
    )
    category = targets(subject.dataset)["category"].to_pylist()
    bare = pc.indices_nonzero(pc.equal(found["positive"], 0)).to_pylist()
    for row in bare:
        query = found["query_id"][row].as_py()
        unjudged = found["unjudged"][row].as_py()
        others = f"{found['ignored'][row].as_py()} ignored, {unjudged} unjudged"
        hidden = unjudged > 0 and bool(withheld & {"*", category[row]})
        expected = "labels are withheld" if hidden else "expected at least one"
        text = f"query {query} has no positive in the gallery ({others}); {expected}"
        yield finding("Q02", f"queries, row {query}", text, item=query, severity="info" if hidden else None)


def distractor_with_instance(subject: Subject) -> Iterator[Finding]:
    """Q02: a distractor that shows an instance that is searched for."""
    distractor = np.append(has_role(subject, "distractor"), False)
    instance = subject.column("annotations", "instance")
    if not distractor.any() or instance.null_count == len(instance):
        return
    shown = instance.is_valid().to_numpy() & subject.truth & distractor[subject.image_index]
    for row in np.flatnonzero(shown).tolist():
        image = subject.column("annotations", "image_id")[row].as_py()
        text = f"distractor {image} shows instance {instance[row].as_py()}; expected none"
        place = subject.place("annotations", row, "instance")
        yield finding("Q02", place, text, item=subject.item("annotations", row))

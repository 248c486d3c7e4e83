"""The union of datasets, joined on ids: null is filled, equal agrees, anything else is an error."""

from __future__ import annotations

from collections.abc import Sequence

from curate.dataset import Dataset


def merge(datasets: Sequence[Dataset], *, name: str | None = None) -> Dataset:
    """See :meth:`curate.dataset.Dataset.merge`."""
    raise NotImplementedError

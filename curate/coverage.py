"""Coverage: of which classes an image is known to show all there is, so that one without truth is a negative.

Of the rows of the table coverage the most specific decides: image and category, image and ``*``,
``source/source_split`` and category, that and ``*``. Only ``exhaustive`` makes an image without truth a negative. Where
a class is not known (that of an instance, say), what a row says against any class is said against it.

A row of an image whose category is itself a scope (``searchad/val``) points at it: for that image, the rows of that
scope stand before those of its split. So labels that were made across the splits of several sources need one row per
image, and not one per image and class.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import flags, plain, positions, whole
from curate.dataset import Dataset

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Coverage(NamedTuple):
    """What coverage says of the images, as numbers: 1 exhaustive, 0 stated otherwise, -1 not stated.

    Classes are numbers too (:meth:`codes`): 0 is ``*`` and any class that no row names, then those named, and the last
    one, ``unknown``, is a class that is not known.
    """

    categories: pa.Array  # '*', and those named
    split: Ints  # per image: its source/source_split, as a row of by_split
    by_split: Ints  # splits x classes
    by_image: Ints  # per image, of '*'
    keys: Ints  # sorted: image * number of classes + class, where a row states both
    by_key: Ints

    @property
    def unknown(self) -> int:
        return len(self.categories)

    def codes(self, categories: pa.ChunkedArray) -> Ints:
        """Classes as numbers; null is ``unknown``."""
        return np.where(
            flags(pc.is_null(categories)), self.unknown, np.maximum(positions(categories, self.categories), 0)
        )

    def at(self, image: Ints, category: Ints) -> Bools:
        """Whether coverage is exhaustive, for images and classes in parallel."""
        exhaustive: Bools = self.state(image, category) == 1
        return exhaustive

    def state(self, image: Ints, category: Ints) -> Ints:
        """1 where coverage is exhaustive, 0 where it is stated otherwise, -1 where nothing is; as :meth:`at`."""
        return self._without_keys(image, category, self._stated(image, category))

    def counts(self, images: Bools) -> Ints:
        """For each class, in how many of ``images`` coverage is exhaustive; by the rows, not by all pairs."""
        per_split = np.bincount(self.split[images & (self.by_image < 0)], minlength=len(self.by_split))
        split_state = np.where(self.by_split >= 0, self.by_split, self.by_split[:, :1])
        counts: Ints = per_split @ (split_state == 1) + int((images & (self.by_image == 1)).sum())
        image, category = np.divmod(self.keys, self.unknown + 1)
        without = self._without_keys(image, category, np.full(len(image), -1)) == 1
        change = (self.by_key == 1).astype(np.int64) - without
        np.add.at(counts, category[images[image]], change[images[image]])
        return counts

    def _stated(self, image: Ints, category: Ints) -> Ints:
        if not len(self.keys):
            return np.full(len(image), -1)
        wanted = image * (self.unknown + 1) + category
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.by_key[place], -1)

    def _without_keys(self, image: Ints, category: Ints, state: Ints) -> Ints:
        """``state`` where it is stated, else that of image and ``*``, of split and class, of split and ``*``."""
        for less_specific in (
            self.by_image[image],
            self.by_split[self.split[image], category],
            self.by_split[self.split[image], 0],
        ):
            state = np.where(state >= 0, state, less_specific)
        return state


def coverage_of(dataset: Dataset) -> Coverage:
    """What the dataset states, ready to be asked."""
    images, table = dataset.table("images"), dataset.table("coverage")
    named = pc.unique(plain(table["category"]))
    categories = pa.concat_arrays([pa.array(["*"]), whole(named.filter(pc.not_equal(named, "*")))])
    unknown = len(categories)
    scope = whole(pc.binary_join_element_wise(plain(images["source"]), plain(images["source_split"]), "/"))
    splits = pc.unique(scope)  # of images without source_split: null, and nothing can be stated for it
    split = pc.index_in(scope, value_set=splits).to_numpy().astype(np.int64)
    category = positions(table["category"], categories)
    state = flags(pc.equal(plain(table["state"]), "exhaustive")).astype(np.int64)
    of_split = positions(table["scope"], splits)
    of_image = positions(table["scope"], images["id"])

    by_split: Ints = np.full((len(splits), unknown + 1), -1)
    stated = of_split >= 0
    by_split[of_split[stated], category[stated]] = state[stated]
    split, by_split = _pointed(table, of_image, category, state, split, by_split)
    by_split[(by_split == 0).any(axis=1), unknown] = 0
    by_image = np.full(images.num_rows, -1)
    stated = (of_image >= 0) & (category == 0)
    by_image[of_image[stated]] = state[stated]
    stated = (of_image >= 0) & (category > 0)
    doubtful = np.unique(of_image[stated & (state == 0)])
    keys = np.concatenate([of_image[stated] * (unknown + 1) + category[stated], doubtful * (unknown + 1) + unknown])
    order = np.argsort(keys)
    by_key = np.concatenate([state[stated], np.zeros(len(doubtful), np.int64)])[order]
    return Coverage(categories, split, by_split, by_image, keys[order], by_key)


def _pointed(
    table: pa.Table, of_image: Ints, category: Ints, state: Ints, split: Ints, by_split: Ints
) -> tuple[Ints, Ints]:
    """``split`` and ``by_split`` with a row for every split and set of scopes that images of it point at.

    Of several scopes that an image points at, one that is exhaustive for a class says so.
    """
    scopes = pc.unique(plain(table["scope"].filter(pa.array(of_image < 0))))
    target = np.where(of_image >= 0, positions(table["category"], scopes), -1)
    told = np.full_like(by_split, -1)
    for scope in np.unique(target[target >= 0]).tolist():
        here = positions(table["scope"], scopes.slice(scope, 1)) >= 0
        said = np.full(by_split.shape[1], -1)
        said[category[here]] = state[here]
        said[0] = -1  # of classes that are not named the image's split speaks
        points = np.zeros(len(split), np.int64)
        points[of_image[target == scope]] = 1
        pairs, split = np.unique(split * 2 + points, return_inverse=True)
        by_split, told = by_split[pairs // 2], told[pairs // 2]
        told[pairs % 2 == 1] = np.maximum(told[pairs % 2 == 1], said)
    return split, np.where(told >= 0, told, by_split)

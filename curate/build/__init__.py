"""Datasets from datasets: subsets, splits, support sets, hidden tests, and the search for leaks.

One module makes each (``subset``; ``split``, queries and gallery; ``partition``, train, val and test; ``support``;
``hidden``; ``leakage``). The others hold what these share, as ``where``, the language of a subset's conditions.
"""

"""Datasets from datasets: ``subset``, ``split``, and ``where``, the language of the conditions that a subset takes."""

"""Harmonisation: tables that say which source label means which class, and relabelling a dataset by one of them.

A taxonomy is data (``curate/taxonomies/NAME.tsv`` and ``NAME_classes.tsv``, or files of the user's own): one row per
class, source and source label, see :mod:`curate.taxonomy.tables`. ``searchad`` has the rare classes of SearchAD,
``coarse`` a few classes that nearly all driving sources share, ``native`` leaves every label as it is.
"""

from curate.taxonomy.relabel import relabel
from curate.taxonomy.report import Relabelled
from curate.taxonomy.tables import Rule, Taxonomy, load, names

__all__ = ["Relabelled", "Rule", "Taxonomy", "load", "names", "relabel"]

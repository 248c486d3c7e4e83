"""The union of datasets, joined on ids: null is filled, equal agrees, anything else is an error.

Row by row and column by column; ``attributes`` are joined key by key, and objects in them likewise. These differences
are no contradiction:

* where a file lies (``file_name``, roots): the first dataset that says it wins. Where images of one source lie in
  different roots, the folder that holds these becomes its root.
* what sources make of a class of one name. The role is the strongest of benchmark, ignore and other; of differing
  supercategories all are kept, sorted, as ``2-wheeler | vehicle``. Each such class is a finding (N06), and ``relabel``
  gives it a meaning.
* how relevance follows. Where the rules of datasets with queries differ, what each rule says of its own queries in the
  union is written down as judgements (origin ``merge``), which no rule changes; the union has the rule by default, and
  a finding (N07) names the rules.
* whether a judgement names the annotation that shows it. Where one dataset judges a pair of query and image and another
  its annotation, as ROxford and PROxford do, the one that names it stays.
"""

from curate.merging.union import merge

__all__ = ["merge"]

"""Dataset <-> COCO JSON, the interchange format.

What is written is plain COCO that ``pycocotools.COCO`` reads, with the dataset's further columns as extra keys and one
extra object ``curate`` at the top that says which keys those are and holds the tables that COCO has no place for. What
was written is read back equal, field by field.

A file of other tools is read as it is: its foreign keys, its nulls and whatever does not fit a column are kept under
``attributes.coco`` of the row (or ``headers`` of the dataset) and return unchanged at export. COCO's integer ids are
given at export, in sorted order of our ids; ``keep_ids`` returns the ones that the file had.
"""

from curate.coco.reading import SOURCE, read
from curate.coco.writing import write

__all__ = ["SOURCE", "read", "write"]

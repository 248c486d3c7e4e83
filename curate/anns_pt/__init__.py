"""``anns.pt`` -> Dataset: the annotation file of VoxDet-SoIR, upstream's own or ours.

One dictionary, key = path of an image, value = its entry (the fields are listed in ``curate.export.anns_pt``):

* A query's box holds its last pixel (``w = x2 - x1 + 1``), a gallery box ends before its right and bottom edge
  (``w = x2 - x1``).
* ``ins`` is unique only within ``set``: instance ``OWID/5`` is not ``RoboTools/5``. Where an entry names its instances
  (``obj_name``), these names are their ids.
* Masks: ``transpose`` false means runs by rows; without that key they run by columns, as COCO's do. Background comes
  first, but upstream leaves out the leading 0 of a query's mask whose first pixel is foreground, so that its file says
  the complement; which of the two is meant is seen by the box.
* The whole frame as box of an empty mask, ``(0, 0, width, height)``, means that there is no box.
* ``is_val`` tells OWID's splits apart; upstream's own files lack it, and then the split is not known.

An image's id is ``anns_pt/`` and its key without leading slash. Images are opened only where their folder is named.
"""

from curate.anns_pt.reading import SOURCE, read

__all__ = ["SOURCE", "read"]

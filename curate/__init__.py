"""curate: turn raw image downloads into a released, verified retrieval benchmark.

What the command line does can be done from Python with the same words::

    import curate

    kitti = curate.import_source("kitti", "data/kitti")
    small = curate.build_subset(kitti, size="<0.15")
    curate.write(small, "kitti-small")

The names below are loaded when first asked for, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Dataset": "curate.dataset",
    "from_records": "curate.dataset",
    "read": "curate.store",
    "write": "curate.store",
    "scan": "curate.store",
    "import_source": "curate.importing",
    "build_subset": "curate.build.subset",
    "build_split": "curate.build.split",
    "summarise": "curate.summary",
    "CurateError": "curate.errors",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("curate")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""Writes a tiny ILIAS tree: objects with queries, positives and texts, id lists, taxonomy, and a few distractors.

Run it to look at one: ``python tests/sources/ilias/tree.py FOLDER``.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
from pathlib import Path

from PIL import Image

SIZE = (16, 12)

# object -> role -> picture -> lines of its box file; None where it has none.
CORE: dict[str, dict[str, dict[str, str | None]]] = {
    "bold_bimp_000": {
        "query": {"Q000_00": "2 3 5 4\n"},
        "pos": {"P000_00": "0 0 4 3\n6 5 4 4\n", "P000_01": "1 1 16 12\n"},  # two boxes; a box over the edge
    },
    "cozy_flup_001": {
        "query": {"Q001_00": "1 1 4 4\n8 6 4 4\n\n", "Q001_01": None},  # two boxes and a blank line; no box file
        "pos": {"P001_00": "3 3 2 2\r\n", "P001_01": ""},  # Windows line end; an empty file
    },
    "posy_wib_002": {"query": {"Q002_00": "0 0 1 1\n"}, "pos": {"P002_00": "5 5 0 3"}},  # name with "pos"; no area
    "-jolly_snop_003": {"query": {"Q003_00": "4 4 4 4\n"}, "pos": {"P003_00": "4 4 4 4\n"}},  # begins with a dash
}
TAXONOMY = {
    "product": {"food": {"cake": ["bold_bimp_000"]}, "drink": {"other": ["cozy_flup_001"]}},
    "art": {"public art": {"3d print": ["posy_wib_002", "-jolly_snop_003"]}},
}
POSITIVES = """bold_bimp_000/pos/P000_00.jpg,0.075971,43
bold_bimp_000/pos/P000_01.jpg,0.5,0
cozy_flup_001/pos/P001_00.jpg,0.0196,83
posy_wib_002/pos/P002_00.jpg,0.1,17
posy_wib_002/pos/P002_01.jpg,0.2,18
-jolly_snop_003/pos/P003_00.jpg,0.3,53
"""
DISTRACTORS = [f"yfcc100m-{shard:06d}.tar/{shard:04x}{key:028x}" for shard in range(3) for key in range(4)]


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(1000)
    for name, roles in CORE.items():
        for role, pictures in roles.items():
            for stem, boxes in pictures.items():
                folder = root / "ilias_core" / name / role
                picture(folder / f"{stem}.jpg", draw)
                if boxes is not None:
                    put(folder / f"{stem}_bbox.txt", boxes)
        put(root / f"ilias_core/{name}/query/T{name[-3:]}.txt", f"A small object number {int(name[-3:])}, of tin.\n")
    put(root / "ilias_core/cozy_flup_001/pos/P001_00_url.txt", "https://example.org/photo.jpg\n")
    put(root / "ilias_core/readme.txt", "not an object\n")
    put(root / "image_ids/positive_ids.txt", POSITIVES)  # without P001_01; P002_01 is not there
    queries = [f"{name}/query/{stem}.jpg" for name, roles in CORE.items() for stem in roles["query"]]
    put(root / "image_ids/image_query_ids.txt", "".join(f"{id},0.35,{i}\n" for i, id in enumerate(queries)))
    put(root / "image_ids/text_query_ids.txt", "".join(f"{name}/query/T{name[-3:]}.txt\n" for name in CORE))
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream:
        stream.write("".join(f"{id}\n" for id in DISTRACTORS).encode())
    (root / "image_ids/distractor_ids.txt.gz").write_bytes(packed.getvalue())
    put(root / "misc/taxonomy.json", json.dumps(TAXONOMY, indent=2))
    put(root / "misc/ilias_core_captured.txt", "bold_bimp_000/pos/P000_00.jpg\nbold_bimp_000/query/Q000_00.jpg\n")


def picture(path: Path, draw: random.Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (draw.randrange(256), draw.randrange(256), draw.randrange(256))).save(path, quality=60)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


if __name__ == "__main__":
    write(Path(sys.argv[1]))

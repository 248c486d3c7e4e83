"""Queries that images are themselves: one annotation of an image is what the others are searched for."""

from __future__ import annotations

from curate.model import Annotation, Query, QueryKind


def query_of(row: Annotation, kind: QueryKind) -> Query:
    """The query that ``row`` makes of its image, named as the image is; queries for one instance are a group."""
    return Query(
        id=row.image_id,
        kind=kind,
        group=row.instance,
        image_id=row.image_id,
        x=row.x,
        y=row.y,
        w=row.w,
        h=row.h,
        annotation_id=row.id,
        instance=row.instance,
        category=row.category,
    )

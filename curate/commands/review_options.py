"""What the commands of ``curate review`` share: which server, which images, and that the dataset is still the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.review.api import Api
    from curate.review.folder import Review
    from curate.review.tasks import Material

F = TypeVar("F", bound=Callable[..., Any])
_SHOWN = 20  # lines that are listed


def server_options(function: F) -> F:
    """Which server: the one that ``review serve`` started on a folder, or any by address and token."""
    for option in (
        click.option(
            "--images",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="The server's folder of local files; known for a server of ours.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(0, min_open=True),
            default=300,
            show_default=True,
            metavar="SECONDS",
            help="How long one request may take, with its whole answer.",
        ),
        click.option("--url", metavar="URL", help="Another server; its token comes from CURATE_LABEL_STUDIO_TOKEN."),
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            default=Path("label-studio"),
            show_default=True,
            metavar="DIR",
            help="Folder of the server that 'review serve' started.",
        ),
    ):
        function = option(function)
    return function


def server_of(data: Path, url: str | None, images: Path | None, timeout: float) -> tuple[Api, Path]:
    """The server to talk to, and the folder that its images lie below."""
    from curate.review import server
    from curate.review.api import Api

    if url is not None:
        token = os.environ.get("CURATE_LABEL_STUDIO_TOKEN")
        if not token:
            raise UsageError("CURATE_LABEL_STUDIO_TOKEN", "is not set", "expected the account's token")
        if images is None:
            raise UsageError("--images", "is missing", "expected the server's folder of local files")
        return Api(url, token, timeout), images
    running = server.opened(data)
    if running is None:
        raise UsageError(data, "no server was started there", "expected one", "curate review serve, or give --url")
    return Api(running.url, running.token, timeout), images or Path(running.root)


def material_of(opened: Review, roots: dict[str, str]) -> Material:
    from curate import store
    from curate.review import tasks

    dataset = store.read(opened.about.dataset)
    check_same(opened, dataset.fingerprint())
    return tasks.material(dataset, opened.plan, opened.items, roots)


def check_same(opened: Review, fingerprint: str) -> None:
    from curate.errors import ReviewError

    if fingerprint != opened.about.fingerprint:
        raise ReviewError(
            opened.about.dataset,
            "is another dataset than when the review began",
            f"expected fingerprint {opened.about.fingerprint}",
            "restore it, or make a new review",
        )


def listed(lines: list[str]) -> list[str]:
    more = [f"... and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *more]

"""What the commands of ``curate review`` share: which server, which images, and that the dataset is still the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from curate.commands.options import check_roots
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
            help="The server's folder of local files, for a push; known for a server of ours.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(0, min_open=True),
            default=300,
            show_default=True,
            metavar="SECONDS",
            help="How long one request may take, with its whole answer.",
        ),
        click.option(
            "--url",
            metavar="URL",
            help="Another server, with the token of CURATE_LABEL_STUDIO_TOKEN; or CURATE_LABEL_STUDIO_URL says it, or "
            "label_studio.json in ~/.config/curate, of mode 600 and with url and token.",
        ),
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Folder of the server that 'review serve' started; label-studio if no other is named.",
        ),
    ):
        function = option(function)
    return function


def server_of(data: Path | None, url: str | None, images: Path | None, timeout: float) -> tuple[Api, Path | None]:
    """The server to talk to, and the folder that its images lie below, if that is known.

    What is named goes first (``--url``, ``--data``), then the environment, then a server of ours in its usual folder,
    then the user's configuration.
    """
    from curate.review import address, server
    from curate.review.api import Api

    folder = data or Path("label-studio")
    other = address.named(url) if url is not None or data is None else None
    running = None if other else server.opened(folder)
    if other is None and running is None and data is None:
        other = address.configured()
    if other is not None:
        return Api(other.url, other.token, timeout), images
    if running is None:
        raise UsageError(folder, "no server was started there", "expected one", "curate review serve, or give --url")
    return Api(running.url, running.token, timeout), images or Path(running.root)


def material_of(opened: Review, roots: dict[str, str]) -> Material:
    from curate import store
    from curate.review import tasks

    dataset = store.read(opened.about.dataset)
    check_same(opened, dataset.fingerprint())
    check_roots(roots, dataset.table("images")["source"].unique().to_pylist())
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

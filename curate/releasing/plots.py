"""Plots as pictures (SVG, text and nothing that moves): the long tail of classes, and the sizes of boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from curate.errors import printable
from curate.summary import Summary

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 800, 360, 64, 44, 96
_CLASSES = 400  # bars
_NAMED = 40  # bars up to which each has its name
_LETTERS = 16


def draw(summary: Summary) -> dict[str, str]:
    """The plots by file name, none of what is not there."""
    plots = {}
    classes = [(one.name, one.annotations) for one in summary.categories if one.annotations][:_CLASSES]
    if classes:
        plots["classes.svg"] = bars(f"Annotations per class, {len(classes):,} classes", classes, logarithmic=True)
    sizes = [(f"to {100 * one.high:g} %" if one.high is not None else "more", one.annotations) for one in summary.sizes]
    if any(number for _, number in sizes):
        plots["sizes.svg"] = bars("Boxes by the share of their image that they cover", sizes)
    return plots


def bars(title: str, values: Sequence[tuple[str, int]], *, logarithmic: bool = False) -> str:
    """Upright bars with a scale at the left; with ``logarithmic`` one unit has a little height, and 0 has none."""
    largest = max(max(number for _, number in values), 1)
    ticks = _powers(largest) if logarithmic else _steps(largest)
    inner_width, inner_height = _WIDTH - _LEFT - 16, _HEIGHT - _TOP - _BOTTOM
    floor = _HEIGHT - _BOTTOM

    def height(value: float) -> float:
        if logarithmic:
            return inner_height * (math.log10(value) + 0.15) / (math.log10(ticks[-1]) + 0.15) if value else 0.0
        return inner_height * value / ticks[-1]

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{_text(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="16" y="24" font-size="15" font-weight="600" fill="#181a1e">{_text(title)}</text>',
    ]
    for tick in ticks:
        y = floor - height(tick)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - 16}" stroke="#e2e4e8"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#686c74">{tick:,}</text>')
    step = inner_width / len(values)
    for i, (name, value) in enumerate(values):
        x, tall = _LEFT + i * step + 0.08 * step, height(value)
        parts.append(
            f'<rect x="{x:.2f}" y="{floor - tall:.2f}" width="{0.84 * step:.2f}" height="{tall:.2f}" fill="#3457d5">'
            f"<title>{_text(name)}: {value:,}</title></rect>"
        )
        if len(values) <= _NAMED:
            short = name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"
            middle = x + 0.42 * step
            parts.append(
                f'<text transform="translate({middle:.1f} {floor + 14}) rotate(-40)" text-anchor="end" '
                f'fill="#181a1e">{_text(short)}</text>'
            )
    parts.append(f'<path d="M{_LEFT} {floor}H{_WIDTH - 16}" stroke="#686c74"/></svg>')
    return "\n".join(parts) + "\n"


def _powers(largest: int) -> list[int]:
    return [10**i for i in range(max(math.ceil(math.log10(largest)), 1) + 1)]


def _steps(largest: int) -> list[int]:
    """0 and up to five round steps that reach ``largest``."""
    size = 10 ** math.floor(math.log10(largest))
    step = next(max(size * part // 10, 1) for part in (2, 5, 10, 20) if 5 * max(size * part // 10, 1) >= largest)
    return list(range(0, math.ceil(largest / step) * step + 1, step))


def _text(text: str) -> str:
    return escape(printable(text))

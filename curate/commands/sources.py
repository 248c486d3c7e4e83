"""``curate sources``: what can be imported, and all about one source."""

from __future__ import annotations

import click

from curate.commands.options import report_options, show_result


@click.command("sources")
@click.argument("name", required=False)
@report_options
def command(name: str | None, as_json: bool, quiet: bool) -> None:
    """List the sources and foreign formats that can be imported, or print all about NAME.

    \b
      curate sources
      curate sources kitti

    That is its licence, what to download and where to register, the tree that the import expects, and the published
    counts.
    """
    from curate import importing

    if name is None:
        known = {name: importing.facts(name) for name in importing.names()}
        width = max(map(len, known))
        text = "\n".join(f"{name.ljust(width)}  {facts.title} ({facts.licence})" for name, facts in known.items())
        show_result(known, text, as_json=as_json, quiet=quiet)
        return
    facts = importing.facts(name)
    parts = [
        f"{facts.title}{f' {facts.version}' if facts.version else ''}",
        f"Homepage: {facts.homepage}",
        f"Licence: {facts.licence}",
        f"Cite: {facts.citation}",
        f"Splits: {', '.join(facts.splits) or 'none'}",
        f"What to download\n{_indent(facts.download)}",
        f"Expected tree\n{_indent(facts.tree)}",
    ]
    offered = importing.offered_options(name)
    if offered:
        meaning = importing.option_texts(name)
        lines = [f"{key}{_default(value)}: {meaning.get(key, 'any value')}" for key, value in offered.items()]
        parts.append("Options (--option NAME=VALUE)\n" + _indent("\n".join(lines)))
    if facts.published:
        counts = facts.published
        pairs = [("images", counts.images), ("annotations", counts.annotations), ("instances", counts.instances)]
        said = ", ".join(f"{n:,} {what}" for what, n in pairs if n is not None)
        note = f"({counts.note})" if said and counts.note else counts.note
        parts.append(f"Published counts: {' '.join(filter(None, [said, note]))}")
    show_result(facts, "\n\n".join(parts), as_json=as_json, quiet=quiet)


def _default(value: object) -> str:
    """What holds without the option, as one would type it."""
    return f" (default {'no' if value is False else value})" if value != "" else ""


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())

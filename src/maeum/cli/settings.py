"""``maeum settings`` and ``recipe``: which settings there are."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from maeum.cli.console import output_console
from maeum.wording import alternatives


def settings(
    topic: Annotated[str | None, typer.Argument(help="{topics}.", show_default=False)] = None,
) -> None:
    """List settings with their types, defaults, allowed values and meaning. Without a topic: the topics."""
    from maeum.cli.topics import topics
    from maeum.reports.settings import settings_text, topics_text

    console = output_console()
    known = topics()
    if topic is None:
        console.print(topics_text(known), soft_wrap=True)
        return
    if topic not in known:
        near = difflib.get_close_matches(topic.lower(), known, n=3)
        meant = f"did you mean {alternatives(near)}?" if near else "`maeum settings` lists what there is"
        raise typer.BadParameter(f"there is no {topic!r}; {meant}", param_hint="TOPIC")
    console.print(settings_text(known[topic], known, console.width), soft_wrap=True)


def recipe(
    network: Annotated[str, typer.Argument(help="Network: {networks}.", show_default=False)],
) -> None:
    """Print a complete commented recipe of a network, to be saved, filled in and given to maeum train."""
    from maeum.reports.starter_recipe import starter_recipe

    typer.echo(starter_recipe(network), nl=False)

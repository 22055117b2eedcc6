"""One recipe trained and scored under several splits, side by side: what a split that leaks does to a score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from rich.console import Console

from maeum.config import Config
from maeum.corpora.overlaps import refuse
from maeum.corpora.splits import SplitConfig
from maeum.data.store import Store
from maeum.models.pretrained import load_pretrained
from maeum.runs.evaluate import Evaluation, evaluate
from maeum.runs.recipe import Recipe
from maeum.runs.train import train
from maeum.studies.compare import check_folder_names, check_scored_items, named_in_errors


class Protocol(Config):
    """A split to train and score under."""

    split: SplitConfig
    """How items get into parts."""
    allow_overlap: bool = False
    """Train although its parts share speakers, dialogues, recordings or contents; every score says so."""


class CompareConfig(Config):
    """A recipe and the splits that it is trained and scored under."""

    recipe: Recipe
    """Trained once for each protocol; its own ``split`` and ``allow_overlap`` are not used."""
    protocols: dict[str, Protocol] = Field(min_length=2)
    """Name -> split."""
    part: str = "test"
    """What is scored, of each store that the recipe takes dev items from."""

    @model_validator(mode="after")
    def _names_are_of_folders(self) -> Self:
        check_folder_names("protocols", self.protocols)
        return self


def compare_splits(
    config: CompareConfig, out: Path | str, *, device: str = "cpu", console: Console | None = None
) -> list[Evaluation]:
    """Train and score; each protocol's run is a folder in ``out``, and goes on where an earlier call stopped.

    Returns:
        An evaluation for each protocol and corpus, under the protocol's name (and the corpus', where there are
        several). Parts of one name hold other items in each.

    Raises:
        CorpusError: when a split cannot be made, or overlaps without being allowed to; before anything is trained.
        MaeumError: see `train` and `evaluate`.
    """
    console = console or Console(quiet=True)
    recipes = {
        name: config.recipe.model_copy(update={"name": f"{config.recipe.name}-{name}", **dict(protocol)})
        for name, protocol in config.protocols.items()
    }
    for name, recipe in recipes.items():
        with named_in_errors(f"protocol {name}"):
            for data in (*recipe.train, *recipe.dev):
                members = Store(data.store).members()
                refuse(recipe.split.split(members).overlaps(members), allow=recipe.allow_overlap)
            check_scored_items(recipe, config.part)
    done = []
    for name, recipe in recipes.items():
        with named_in_errors(f"protocol {name}"):
            model = train(recipe, Path(out) / name, device=device, console=console).model
        for data in recipe.dev:
            scored = evaluate(
                load_pretrained(model, device),
                data.store,
                config.part,
                data.modalities,
                target=recipe.target,
                split=recipe.split,
                features=True,
            )
            done.append(replace(scored, model=name if len(recipe.dev) == 1 else f"{name}, {scored.corpus}"))
    return done

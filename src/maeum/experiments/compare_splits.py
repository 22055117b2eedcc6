"""One recipe trained and scored under several splits, side by side: what a split that leaks does to a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from rich.console import Console

from maeum.config import Config
from maeum.corpora.base import PARTS
from maeum.corpora.overlaps import refuse
from maeum.corpora.splits import SplitConfig
from maeum.data.store import Store
from maeum.evaluation.report import Report
from maeum.experiments.evaluate import evaluate
from maeum.experiments.recipe import Recipe
from maeum.experiments.train import train


class Protocol(Config):
    """A split to train and score under."""

    split: SplitConfig
    allow_overlap: bool = False


class CompareConfig(Config):
    """What is compared.

    recipe: trained once for each protocol; its own split and allow_overlap do not count. protocols: by name. part:
    what is scored, of each store that the recipe takes dev items from.
    """

    recipe: Recipe
    protocols: dict[str, Protocol] = Field(min_length=2)
    part: str = "test"


@dataclass(frozen=True)
class Outcome:
    """A protocol's scores on one corpus. sizes: utterances of each part."""

    protocol: str
    corpus: str
    split: str
    sizes: dict[str, int]
    report: Report


def compare_splits(
    config: CompareConfig, out: Path | str, *, device: str = "cpu", console: Console | None = None
) -> list[Outcome]:
    """Train and score; each protocol's run is a folder in ``out``, and goes on where an earlier call stopped.

    Raises:
        CorpusError: when a split cannot be made, or overlaps without being allowed to; before anything is trained.
        MaeumError: see `train` and `evaluate`.
    """
    console = console or Console(quiet=True)
    outcomes = []
    recipes = {
        name: config.recipe.model_copy(update={"name": f"{config.recipe.name}-{name}", **dict(protocol)})
        for name, protocol in config.protocols.items()
    }
    for recipe in recipes.values():
        for data in (*recipe.train, *recipe.dev):
            members = Store(data.store).members()
            refuse(recipe.split.split(members).overlaps(members), allow=recipe.allow_overlap)
    for name, recipe in recipes.items():
        trained = train(recipe, Path(out) / name, device=device, console=console)
        for data in recipe.dev:
            store = Store(data.store)
            split = recipe.split.split(store.members())
            done = evaluate(
                trained.model, store.folder, config.part, data.modalities, target=recipe.target, split=recipe.split
            )
            counts = Counter(split.parts.values())
            sizes = {part: counts[part] for part in PARTS if counts[part]}
            outcomes.append(Outcome(name, done.corpus, _named(split.name, split.seed), sizes, done.report))
    return outcomes


def as_markdown(outcomes: Sequence[Outcome], metrics: Sequence[str] | None = None) -> str:
    """A table with a row for each protocol and corpus.

    Args:
        outcomes: as `compare_splits` gives them.
        metrics: which scores; all when None.
    """
    names = metrics or list(outcomes[0].report.scores)
    lines = [
        f"| protocol | corpus | split | {' / '.join(PARTS)} | {' | '.join(names)} | overlap |",
        f"|---|---|---|---|{'---|' * len(names)}---|",
    ]
    for outcome in outcomes:
        scores = " | ".join(outcome.report.scores[name].words() for name in names)
        sizes = " / ".join(str(outcome.sizes.get(part, 0)) for part in PARTS)
        shared = outcome.report.overlap or "none"
        lines.append(f"| {outcome.protocol} | {outcome.corpus} | {outcome.split} | {sizes} | {scores} | {shared} |")
    return "\n".join(lines) + "\n"


def _named(name: str, seed: int | None) -> str:
    return name if seed is None else f"{name}, seed {seed}"

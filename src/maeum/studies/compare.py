"""Several networks on the same items: trained from one set of settings, scored alike, and put in one table."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, create_model, model_validator
from rich.console import Console

from maeum.config import Config
from maeum.data.dataset import StoreDataset
from maeum.errors import ConfigError, MaeumError, StoreError
from maeum.evaluation.base import metrics_of
from maeum.evaluation.report import Score
from maeum.files import write_whole
from maeum.models.networks import MODELS
from maeum.models.pretrained import Pretrained, load_pretrained
from maeum.reports.tables import ModelTable, metric_title
from maeum.runs.evaluate import Evaluation, evaluate
from maeum.runs.recipe import DataConfig, Recipe, network_section
from maeum.runs.run_folder import reserve_run_folder
from maeum.runs.steps.data import open_store
from maeum.runs.train import train
from maeum.studies.seeds import SeededScore, difference_over_seeds
from maeum.training.config import TrainConfig
from maeum.training.log import read_log
from maeum.training.loop import CHECKPOINTS
from maeum.types import MODALITIES
from maeum.wording import counted

_COST = "cost.json"
#: How a page begins.
PAGE_TITLE = "# Networks compared"
_ABOUT = f"""{PAGE_TITLE}

Written by `maeum compare`; all settings are in its recipes, and every score's passport is in the report that it writes
beside the runs. The networks of a block were trained on the same items with the same variation, one seed each. Of each
the epoch that was best on dev in the first score was kept; where dev is what is scored, scores are somewhat flattered.
{{intervals}} A network (after another) started from what that one had learned: its epochs and minutes come on top.
"""
_WITH_INTERVALS = """In brackets: 95 % confidence intervals over speakers where they are known, else over items.
The difference to the block's first network is taken on the same items; where its interval holds 0, no difference is
shown."""
_WITHOUT_INTERVALS = """The difference to the block's first network is taken on the same items. There are no confidence
intervals, so nothing says how much of it is chance."""


#: Settings of a recipe that the comparison and its entries decide.
_DECIDED = ("name", "model", "score")


def _shared_settings() -> type[BaseModel]:
    """The settings of a recipe that entries may share."""
    fields: dict[str, Any] = {n: (f.annotation, f) for n, f in Recipe.model_fields.items() if n not in _DECIDED}
    return create_model("Shared", **fields)


class Entry(Config):
    """One network of a comparison: its own settings, beside those that all share."""

    title: str
    """Its name in tables."""
    model: str
    """A registered network, such as ``fe2e``."""
    init_from: str | None = None
    """An entry before it, from whose weights it starts (``start_from`` of its recipe). That one is its ``teacher``,
    too, where ``training`` has weights for distillation."""
    network: dict[str, Any] = Field(default_factory=dict)
    """Settings of the network that are its own."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Settings of the training that are its own."""
    train: tuple[DataConfig, ...] | None = None
    """What it is trained on where that is not what the others are: another store of augmented views, say, or recognised
    transcripts."""

    @classmethod
    def sections(cls, data: Mapping[str, Any]) -> Mapping[str, type[BaseModel]]:
        """See `Config`."""
        return {**network_section(data.get("model")), "training": TrainConfig}


class Comparison(Config):
    """Networks that are trained and scored on the same items."""

    name: str
    """Folder of its runs, within the one given on the command line."""
    title: str
    """Of the data, in the table."""
    shared: dict[str, Any]
    """Settings of a recipe that hold for all entries."""
    entries: dict[str, Entry] = Field(min_length=1)
    """Name -> network. The others are compared with the first."""
    metrics: tuple[str, ...] = Field(default=("macro_f1", "uar", "accuracy"), min_length=1)
    """Scores that are shown. The first one decides which epoch of a training is the best."""
    part: str = "dev"
    """What is scored, of the store that the dev items are of."""

    @classmethod
    def sections(cls, data: Mapping[str, Any]) -> Mapping[str, type[BaseModel]]:
        """See `Config`."""
        return {"shared": _shared_settings()}

    @model_validator(mode="after")
    def _names_are_of_folders(self) -> Comparison:
        check_folder_names("name", (self.name,))
        check_folder_names("entries", self.entries)
        return self

    @model_validator(mode="after")
    def _sources_come_first(self) -> Comparison:
        names = list(self.entries)
        for i, (name, entry) in enumerate(self.entries.items()):
            if entry.init_from is not None and entry.init_from not in names[:i]:
                before = ", ".join(names[:i]) or "none"
                raise ValueError(f"{name}: init_from names {entry.init_from!r}, not an entry before it ({before})")
        return self

    def title_of(self, name: str) -> str:
        """Of an entry, and of the entry that it starts from."""
        entry = self.entries[name]
        after = "" if entry.init_from is None else f" (after {self.entries[entry.init_from].title})"
        return entry.title + after

    def recipe(self, name: str) -> Recipe:
        """The recipe of one entry; raises ConfigError on settings that no recipe has."""
        entry = self.entries[name]
        own = {"network": entry.network, "training": entry.training}
        merged = {part: {**(self.shared.get(part) or {}), **settings} for part, settings in own.items()}
        shared_losses = (self.shared.get("training") or {}).get("losses") or {}
        if own_losses := entry.training.get("losses"):  # an entry changes some settings of some losses
            merged["training"]["losses"] = {
                name: {**shared_losses.get(name, {}), **own_losses.get(name, {})}
                for name in dict.fromkeys((*shared_losses, *own_losses))
            }
        named: dict[str, Any] = {"name": f"{self.name}-{name}", "model": entry.model, "score": self.metrics[0]}
        if entry.train is not None:
            named["train"] = [data.model_dump() for data in entry.train]
        return Recipe.parse({**self.shared, **merged, **named}, item=f"{self.name}, {name}")


@dataclass(frozen=True)
class Row:
    """The line of one network; the entry that it starts from has its own."""

    title: str
    scores: dict[str, Score]
    """Of the comparison's metrics."""
    difference: SeededScore | None
    """Of the first metric, this network minus the first one, on the same items; None for the first one itself, and
    where it answered other items."""
    parameters: int
    epochs: int
    best_epoch: int
    """Counted from 1."""
    cpu_minutes: float
    """Of all processes that trained it, except those that were killed."""


@dataclass(frozen=True)
class ComparisonResult:
    """The scores of a comparison."""

    comparison: Comparison
    items: int
    """How many were scored."""
    speakers: int | None
    """How many they are of, where that is known."""
    rows: tuple[Row, ...]
    """In the order of the entries."""
    evaluations: tuple[Evaluation, ...] = field(compare=False)
    """Likewise; each is called by its title."""
    majority: dict[str, float]
    """Metric -> score of the majority baseline."""
    notes: tuple[str, ...]
    """What the reader has to know."""


def compare(
    comparison: Comparison,
    out: Path | str,
    *,
    device: str = "cpu",
    intervals: bool = True,
    console: Console | None = None,
) -> ComparisonResult:
    """Train every network of a comparison where that is not done yet, and score all on the same items.

    Args:
        comparison: what is compared.
        out: folder of the runs; each is ``out/<comparison>/<entry>``, as `train` makes it.
        device: where to train.
        intervals: whether scores get intervals.
        console: where progress is printed; None prints none.

    Raises:
        ConfigError: on an entry's unknown settings, or items of several stores to score, before anything is
            trained.
        StoreError, ModelError, CorpusError: see `train`.
    """
    recipes = {name: comparison.recipe(name) for name in comparison.entries}
    if several := [name for name, recipe in recipes.items() if len(recipe.dev) != 1]:
        raise ConfigError("has dev items of several stores", item=f"{comparison.name}, {several[0]}",
                          remedy="Compare on one store; make a comparison for each.")  # fmt: skip
    for name, recipe in recipes.items():
        with named_in_errors(f"{comparison.name}, {name}"):
            if comparison.entries[name].init_from is None:
                check_network(recipe)
            check_scored_items(recipe, comparison.part)
    rows: list[Row] = []
    evaluations: list[Evaluation] = []
    for name, recipe in recipes.items():
        folder = Path(out) / comparison.name / name
        source = comparison.entries[name].init_from
        with named_in_errors(f"{comparison.name}, {name}"):
            started = recipe if source is None else starting_from(recipe, folder.with_name(source) / "model")
            train_once(started, folder, device, console)
        pretrained = load_pretrained(folder / "model", device)
        data = recipe.dev[0]
        done = evaluate(
            pretrained,
            data.store,
            comparison.part,
            data.modalities,
            metrics=tuple(dict.fromkeys((*comparison.metrics, *metrics_of(pretrained.label_set)))),
            intervals=intervals,
            target=recipe.target,
            split=recipe.split if data.sessions is None else None,
            sessions=data.sessions,
            features=True,
        )
        difference = None
        if evaluations and done.predictions.ids == evaluations[0].predictions.ids:
            difference = difference_over_seeds(comparison.metrics[0], [done], evaluations[:1], intervals=intervals)
        title = comparison.title_of(name)
        rows.append(_row(title, {m: done.report.scores[m] for m in comparison.metrics if m in done.report.scores},
                         difference, pretrained, folder))  # fmt: skip
        evaluations.append(replace(done, model=title))
    report = evaluations[0].report
    notes = tuple(dict.fromkeys((*filter(None, (report.overlap, report.speakers_warning)), *report.notes)))
    return ComparisonResult(
        comparison, report.items, report.groups, tuple(rows), tuple(evaluations), report.majority, notes
    )


def check_together(comparisons: Sequence[Comparison]) -> None:
    """Raise ConfigError when comparisons cannot stand in one folder and one table."""
    names = [one.name for one in comparisons]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError("is the name of two comparisons, whose runs would be in one folder", item=twice,
                          remedy="Give each a name of its own.")  # fmt: skip
    metrics = comparisons[0].metrics
    if other := next((one for one in comparisons if one.metrics != metrics), None):
        raise ConfigError(
            f"shows {', '.join(other.metrics)}, the others {', '.join(metrics)}",
            item=other.name,
            remedy="Make a table of its own for it.",
        )


def check_folder_names(setting: str, names: Iterable[str]) -> None:
    """Raise ValueError when one of these names would be a folder elsewhere, or none."""
    for name in names:
        if name in ("", ".", "..") or set(name) & set("/\\\0"):
            raise ValueError(f"{setting}: {name!r} cannot be the name of a folder: use letters, digits, - and _")


def check_network(recipe: Recipe) -> None:
    """Raise ConfigError on wrong settings of a recipe's network; one with branches to take over is whole only later."""
    if not (recipe.start_from or recipe.training.needs_transcripts):
        MODELS[recipe.model].config.parse({"labels": 2, **recipe.network}, item=f"{recipe.name}, network")


def check_scored_items(recipe: Recipe, part: str) -> None:
    """Raise StoreError when a recipe's dev store has no items in the part that is to be scored."""
    for number, data in enumerate(recipe.dev):
        store = open_store(data.store, f"dev.{number}.store")
        _ = StoreDataset(
            store,
            part if data.sessions is None else None,
            modalities=data.modalities,
            labelled=True,
            target=recipe.target,
            split=recipe.split.split(store.members()) if data.sessions is None else None,
            sessions=data.sessions,
        )


@contextmanager
def named_in_errors(name: str) -> Iterator[None]:
    """Begin an error's item with the name of an entry (``words, lstm``), unless that of its recipe is there already."""
    try:
        yield
    except MaeumError as error:
        if error.item is not None and error.item.startswith((name, name.replace(", ", "-"))):
            raise
        item = name if error.item is None else f"{name}, {error.item}"
        raise type(error)(error.problem, item=item, remedy=error.remedy) from error


def starting_from(recipe: Recipe, source: Path) -> Recipe:
    """The recipe of a network that starts from the branches of a trained one, and is taught by it where it says how.

    Raises:
        ConfigError: when the recipe itself says whom to start from, or who teaches.
        ModelError: when the model folder ``source`` cannot be read.
    """
    if recipe.start_from or recipe.teacher is not None:
        raise ConfigError("has start_from or teacher beside `init_from`, which is both", item=recipe.name,
                          remedy="Leave one of them out.")  # fmt: skip
    has = load_pretrained(source).card.modalities
    absent = {m for m in MODALITIES if recipe.network.get(m, None if m == "text" else {}) is None}
    changes = {
        "start_from": {m: source for m in has if m not in absent},
        "teacher": source if recipe.training.needs_teacher else None,
        "tokenizer": None,
    }
    return recipe.model_copy(update=changes)


def train_once(recipe: Recipe, folder: Path, device: str, console: Console | None) -> None:
    """Train to the end where that is not done yet, and add up what it cost in ``cost.json``.

    Of a finished run the model is kept, not the checkpoints: a study has many runs, and big encoders.
    """
    if (folder / "model" / "config.json").exists():
        reserve_run_folder(folder, recipe)
        return
    before, began = _epochs(folder), time.process_time()
    try:
        train(recipe, folder, device=device, console=console)
    finally:
        if _epochs(folder) > before:
            spent = _cpu_minutes(folder) + (time.process_time() - began) / 60
            write_whole(folder / _COST, json.dumps({"cpu_minutes": spent}), StoreError)
    for name in CHECKPOINTS:
        (folder / name).unlink(missing_ok=True)


def _epochs(folder: Path) -> int:
    return len({line["epoch"] for line in read_log(folder)}) if (folder / "log.jsonl").exists() else 0


def _cpu_minutes(folder: Path) -> float:
    path = folder / _COST
    return float(json.loads(path.read_text(encoding="utf-8"))["cpu_minutes"]) if path.exists() else 0.0


def _row(
    title: str, scores: dict[str, Score], difference: SeededScore | None, pretrained: Pretrained, folder: Path
) -> Row:
    last = read_log(folder)[-1]
    return Row(
        title=title,
        scores=scores,
        difference=difference,
        parameters=pretrained.card.parameters,
        epochs=last["epoch"],
        best_epoch=last["best_epoch"],
        cpu_minutes=_cpu_minutes(folder),
    )


def comparison_table(compared: Sequence[ComparisonResult]) -> str:
    """All comparisons in one table, Markdown.

    Raises:
        ConfigError: see `check_together`.
    """
    check_together([one.comparison for one in compared])
    metrics = compared[0].comparison.metrics
    after = (f"{metric_title(metrics[0])}, minus the first", "parameters", "epochs (best)", "core minutes")
    table = ModelTable(metrics, before=("data", "network"), after=after)
    for one in compared:
        speakers = f" of {counted(one.speakers, 'speaker')}" if one.speakers else ""
        data = f"{one.comparison.title}, {counted(one.items, 'item', separate=True)}{speakers}"
        for row in one.rows:
            difference = "" if row.difference is None else row.difference.format("+.3f")
            cost = (f"{row.parameters:,}", f"{row.epochs} ({row.best_epoch})", f"{row.cpu_minutes:.1f}")
            table.add((data, row.title), row.scores, (difference, *cost))
            data = ""
        if one.majority:
            table.add_majority(one.majority, column=1)
    return "\n".join(table.markdown()) + "\n"


def markdown_page(compared: Sequence[ComparisonResult]) -> str:
    """The table, what it means, and what the reader has to know of each comparison."""
    scores = (score for one in compared for row in one.rows for score in row.scores.values())
    intervals = _WITH_INTERVALS if any(score.interval is not None for score in scores) else _WITHOUT_INTERVALS
    lines = [_ABOUT.format(intervals=intervals), comparison_table(compared)]
    for one in compared:
        lines += [f"- {one.comparison.title}: {note}" for note in one.notes]
    return "\n".join(lines).rstrip() + "\n"

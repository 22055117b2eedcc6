"""A published comparison on one corpus: its networks, trained from several seeds, in the tables that the paper has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from rich.console import Console

from maeum.config import MOST_SEED
from maeum.corpora.splits import LeaveOneOutSplit, OfficialSplit
from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError
from maeum.models.network import SelectsPositions
from maeum.models.pretrained import Pretrained, load_pretrained
from maeum.models.registry import MODELS
from maeum.preparation.model_items import items_for
from maeum.preparation.transcripts import check_error_rate
from maeum.runs.evaluate import Evaluation, evaluate, pooled
from maeum.runs.recipe import Recipe
from maeum.studies.compare import (
    Comparison,
    check_network,
    check_scored_items,
    named_in_errors,
    starting_from,
    train_once,
)
from maeum.types import MODALITIES, Modality

#: T, A, V: how the papers call words, voice and faces; in their order.
_LETTERS: Mapping[str, Modality] = {"T": "text", "A": "speech", "V": "faces"}


class Study(Comparison):
    """A comparison whose networks are trained from several seeds."""

    seeds: int = Field(default=3, ge=1, le=1000)
    """How many trainings of each network: the training's own seed, and so many minus one after it."""
    sweep: tuple[str, ...] = ()
    """Networks that are scored at each mass of ``top_p``; pictures are of the first one."""
    top_p: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """Attention masses that the sweep selects."""
    ablation: tuple[str, ...] = ()
    """Networks that are trained on each subset of the modalities, or that lack a part of the first one."""
    transcripts: Path | None = None
    """A file of `maeum transcribe`, with whose words networks are scored, too."""
    published: dict[str, dict[str, dict[str, str]]] = Field(default_factory=dict)
    """What the paper printed: page -> row -> column -> text."""
    folds: tuple[str, ...] = ()
    """Sessions (speakers, groups) of a ``leave-one-out`` split that are left out in turn. A network is trained for
    each, and the answers about all of them are scored together. Without folds the split's own ``test`` alone is
    scored."""
    protocol: Literal["honest", "published"] = "honest"
    """``published`` trains on all other folds and chooses the epoch on the very items that are scored, as the published
    MMER does; every score says so."""

    @model_validator(mode="after")
    def _folds_fit(self) -> Self:
        if len(self.folds) == 1 or len(set(self.folds)) < len(self.folds):
            raise ValueError("folds are two or more different sessions or speakers")
        if self.folds and self.part != "test":
            raise ValueError(f"folds are what is tested on, so part has to be test, not {self.part}")
        if self.protocol == "published" and not self.folds:
            raise ValueError("protocol: published needs folds")
        return self

    def network(self, name: str) -> str:
        """The title of a network; raises ConfigError on an unknown one."""
        if name not in self.entries:
            raise ConfigError(f"has no network {name!r}, only {', '.join(self.entries)}", item=self.name)
        return self.title_of(name)


@dataclass(frozen=True)
class Variant:
    """One row of a study: a network and its recipes."""

    key: str
    """The folder of its runs."""
    title: str
    recipes: tuple[Recipe, ...]
    """Of each seed, and of each fold where the study has folds."""
    places: tuple[str, ...]
    """Their folders within its own."""
    init_from: Variant | None = None
    """The variant that it starts from, see `Entry`."""


def variants(study: Study, names: Sequence[str], subset: str | None = None) -> list[Variant]:
    """The study's networks, with all their modalities or with those of ``subset`` (such as TA)."""
    made = []
    for name in names:
        title = study.network(name)
        source = study.entries[name].init_from
        recipe = study.recipe(name)
        if subset is not None:
            recipe = _with_modalities(recipe, subset)
            title = f"{title} {subset}"
        first, folds = recipe.training.seed, _folds_of(study, recipe)
        seeds = range(first, first + study.seeds)
        if seeds[-1] > MOST_SEED:
            raise ConfigError(f"its last seed would be {seeds[-1]}, which is above {MOST_SEED}", item=study.name,
                              remedy="Lower training.seed.")  # fmt: skip
        trainings = [recipe.training.model_copy(update={"seed": seed}) for seed in seeds]
        recipes = tuple(fold.model_copy(update={"training": t}) for t in trainings for _, fold in folds)
        places = tuple(f"seed-{seed}/{place}" for seed in seeds for place, _ in folds)
        init_from = None if source is None else variants(study, [source], subset)[0]
        if init_from is not None and subset == "T" and _rests(recipe):
            made.append(replace(init_from, title=f"{title}, all frozen"))
            continue
        made.append(Variant(name if subset is None else f"{name}-{subset}", title, recipes, places, init_from))
    return made


def _folds_of(study: Study, recipe: Recipe) -> list[tuple[str, Recipe]]:
    """The folder and the recipe of each fold; the recipe itself where there are none."""
    if not study.folds:
        return [("", recipe)]
    if not isinstance(recipe.split, LeaveOneOutSplit):
        raise ConfigError("has folds, but its split leaves nothing out in turn", item=study.name,
                          remedy="Give `shared` a split of kind leave-one-out.")  # fmt: skip
    if recipe.split.dev is not None:
        raise ConfigError("names a dev fold, which would be tested on in its turn", item=study.name,
                          remedy="Leave `dev` out: the fold after the one that is tested on is taken.")  # fmt: skip
    if study.protocol == "published" and (recipe.split.by != "session" or recipe.split.groups is not None):
        raise ConfigError("protocol: published leaves sessions out, not speakers or groups", item=study.name,
                          remedy="Use protocol: honest, or a split by session.")  # fmt: skip
    splits = [recipe.split.model_copy(update={"test": fold}) for fold in study.folds]
    people = {data.store: Store(data.store).members() for data in (*recipe.train, *recipe.dev)}
    parted = {  # an unknown fold is found before anything is trained
        (store, split.test): split.split(members) for store, members in people.items() for split in splits
    }
    if study.protocol == "honest":
        return [(split.test, recipe.model_copy(update={"split": split})) for split in splits]

    def others(store: Path, fold: str) -> tuple[str, ...]:
        parts = parted[store, fold].parts
        return tuple(sorted({str(m.session) for m in people[store] if parts[m.id] != "test"}))

    made = []
    for fold in study.folds:
        learned = [d.model_copy(update={"sessions": others(d.store, fold)}) for d in recipe.train]
        scored = [d.model_copy(update={"sessions": (fold,)}) for d in recipe.dev]
        changes = {"split": OfficialSplit(), "train": tuple(learned), "dev": tuple(scored)}
        made.append((f"published-{fold}", recipe.model_copy(update=changes)))
    return made


def _rests(recipe: Recipe) -> bool:
    """Whether a network of words alone has nothing to learn."""
    return all(recipe.training.lr_scale.get(part) == 0 for part in ("encoders.text", "heads.text", "fusion"))


def subsets_of(study: Study) -> tuple[str, ...]:
    """Subsets of the modalities that all networks of the ablation read, largest first, by the papers' letters."""
    missing = {m for name in study.ablation for m in MODALITIES if not _reads(study.recipe(name), m)}
    letters = [letter for letter, modality in _LETTERS.items() if modality not in missing]
    return tuple("".join(chosen) for size in range(len(letters), 0, -1) for chosen in combinations(letters, size))


def _reads(recipe: Recipe, modality: Modality) -> bool:
    if any(d.modalities is not None and modality not in d.modalities for d in (*recipe.train, *recipe.dev)):
        return False
    return recipe.network.get(modality, {}) is not None and not (modality == "text" and "text" not in recipe.network)


def _with_modalities(recipe: Recipe, subset: str) -> Recipe:
    """The recipe with the branches of a subset alone, on the items that have one of them."""
    present = {_LETTERS[letter] for letter in subset}
    without: dict[str, Any] = dict.fromkeys((m for m in MODALITIES if m not in present), None)
    network = {**recipe.network, **without}
    gone = tuple(f"{part}.{m}" for m in without for part in ("encoders", "sequences", "heads"))
    scales = {name: scale for name, scale in recipe.training.lr_scale.items() if not name.startswith(gone)}
    training = recipe.training.model_copy(update={"lr_scale": scales})
    if present == {"text"}:  # of which there are no frames or mel chunks
        losses = {name: own for name, own in training.losses.items() if name != "encoding-distillation"}
        training = training.model_copy(update={"losses": losses})
    if network.get("query_modality") == "speech" and not {"speech", "faces"} <= present:
        del network["query_modality"]
    changes: dict[str, Any] = {"network": network, "training": training, "name": f"{recipe.name}-{subset}"}
    if "text" not in present:
        changes["tokenizer"] = None
    return recipe.model_copy(update=changes)


@dataclass(frozen=True)
class Runs:
    """A variant's trained models: the folder of each, in the order of its recipes."""

    variant: Variant
    folders: tuple[Path, ...]
    device: str = "cpu"

    def model(self, number: int = 0) -> Pretrained:
        """One of them, read anew: all of a study's at once may be more than a memory holds."""
        return load_pretrained(self.folders[number], self.device)


def swept(study: Study) -> list[Variant]:
    """The networks whose ``top_p`` is varied; raises ConfigError when the study names none, or one has no ``top_p``."""
    if not study.sweep:
        raise ConfigError("names no networks for a sweep", item=study.name, remedy="Give it `sweep: [...]`.")
    chosen = variants(study, study.sweep)
    for variant in chosen:
        recipe = variant.recipes[0]
        network = MODELS[recipe.model].network
        if not issubclass(network, SelectsPositions):
            raise ConfigError("selects every position, so it has no top_p", item=variant.title)
        if reason := network.fixed_selection_reason(recipe.network):
            raise ConfigError(reason, item=variant.title)
    return chosen


def train_all(
    study: Study,
    chosen: Sequence[Variant],
    out: Path | str,
    device: str = "cpu",
    console: Console | None = None,
    *,
    transcripts: Path | None = None,
) -> list[Runs]:
    """Train what is not trained yet, seed by seed, each in ``out/<study>/<variant>/seed-<n>``.

    The entries they start from come first. A fold's folder is in that of its seed: ``<session>``, or
    ``published-<session>`` by the published protocol.

    Args:
        study: what the networks are of.
        chosen: the networks.
        out: folder of the runs.
        device: where they are trained.
        console: where progress is printed; None prints none.
        transcripts: recognised words that `score_all` reads afterwards, in the place of those of the recipes.

    Raises:
        ConfigError: before anything is trained, when the dev items are of several stores, or recognised transcripts
            will be scored and their word error rate cannot be computed.
    """
    if any(len(variant.recipes[0].dev) != 1 for variant in chosen):
        raise ConfigError("has dev items of several stores", item=study.name, remedy="Make a study for each.")
    for variant in chosen:
        of_one_seed = len(variant.recipes) // study.seeds
        for recipe in variant.recipes[:of_one_seed]:
            with named_in_errors(f"{study.name}, {variant.key}"):
                if variant.init_from is None:
                    check_network(recipe)
                check_scored_items(recipe, study.part)
    scored = [recipe.dev[0] for variant in chosen for recipe in variant.recipes]
    for store in dict.fromkeys(data.store for data in scored if transcripts or data.transcripts):
        check_error_rate(Store(store).rows)

    def trained(variant: Variant, number: int) -> Path:
        recipe = variant.recipes[number]
        folder = Path(out) / study.name / variant.key / variant.places[number]
        if variant.init_from is not None:
            source = trained(variant.init_from, number)
            with named_in_errors(f"{study.name}, {variant.key}"):
                recipe = starting_from(recipe, source)
        if console is not None and not (folder / "model").exists():
            console.print(f"{folder}:", soft_wrap=True)
        with named_in_errors(f"{study.name}, {variant.key}"):
            train_once(recipe, folder, device, console)
        return folder / "model"

    folders = [[trained(variant, number) for variant in chosen] for number in range(len(chosen[0].recipes))]
    return [Runs(variant, of, device) for variant, of in zip(chosen, zip(*folders, strict=True), strict=True)]


def score_all(
    study: Study,
    runs: Runs,
    top_p: float | None = None,
    *,
    features: bool = False,
    transcripts: Path | None = None,
) -> list[Evaluation]:
    """Answers of each seed's model about the study's items; those of its folds' models, put together.

    Args:
        study: says which items.
        runs: the models.
        top_p: with another attention mass.
        features: keep the models' features too.
        transcripts: whose words are read; when None those of the recipe's dev items.
    """
    done = []
    for number, recipe in enumerate(runs.variant.recipes):
        pretrained = runs.model(number)
        if top_p is not None:
            assert isinstance(pretrained.model, SelectsPositions)
            pretrained.model.top_p = top_p
        data = recipe.dev[0]
        done.append(evaluate(
            pretrained, data.store, study.part, data.modalities, metrics=study.metrics, intervals=False,
            target=recipe.target, split=recipe.split if data.sessions is None else None, sessions=data.sessions,
            allow_overlap=recipe.allow_overlap, features=features, transcripts=transcripts or data.transcripts,
            kept=recipe.cached(),
        ))  # fmt: skip
    if not study.folds:
        return done
    starts = range(0, len(done), len(study.folds))
    return [pooled(done[start : start + len(study.folds)], study.metrics) for start in starts]


def first_fold(study: Study, chosen: Sequence[Variant]) -> tuple[Study, list[Variant]]:
    """The study and its networks as if there were the first fold alone; as they are without folds.

    For what cannot be put together: networks of different folds share neither features nor items.
    """
    if not study.folds:
        return study, list(chosen)
    step = len(study.folds)

    def first(variant: Variant) -> Variant:
        init_from = None if variant.init_from is None else first(variant.init_from)
        return replace(variant, recipes=variant.recipes[::step], places=variant.places[::step], init_from=init_from)

    alone = study.model_copy(update={"folds": (), "title": f"{study.title}, the fold of {study.folds[0]} alone"})
    return alone, [first(variant) for variant in chosen]


@dataclass(frozen=True)
class StudyPage:
    """A page that `maeum reproduce` writes."""

    markdown: str
    """The page."""
    numbers: dict[str, Any]
    """What it shows, for JSON."""
    files: dict[str, str | bytes]
    """Figures and further pages that lie beside it, by their file names."""


def items_of(study: Study, runs: Runs) -> StoreDataset:
    """The items that `score_all` scores, as the variant's models read them; of folds the first."""
    recipe, pretrained = runs.variant.recipes[0], runs.model()
    data = recipe.dev[0]
    store = Store(data.store)
    by_session = data.sessions is not None
    return items_for(
        pretrained,
        store,
        study.part,
        data.modalities,
        labelled=True,
        target=recipe.target,
        split=None if by_session else recipe.split.split(store.members()),
        sessions=data.sessions,
    )


__all__ = [
    "Runs",
    "Study",
    "StudyPage",
    "Variant",
    "first_fold",
    "items_of",
    "score_all",
    "subsets_of",
    "swept",
    "train_all",
    "variants",
]

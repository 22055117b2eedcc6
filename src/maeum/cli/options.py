"""Options that several commands have, and help that is made from the tables of what is registered."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from maeum.devices import check_device

if TYPE_CHECKING:
    from maeum.types import Modality

# Paths are declared readable=False: not "must not be", but "typer need not look", as our own errors name a remedy.

Device = Annotated[str, typer.Option(callback=check_device, help="cpu, or cuda where there is one.")]
ModelName = Annotated[str | None, typer.Option(help="A model's name or folder; by default the one that ships.")]
Part = Annotated[str, typer.Option(help="Which part of the corpus: train, dev or test.")]
TargetName = Annotated[str | None, typer.Option(help="Which of the corpus' targets, such as four-class.")]
Sessions = Annotated[str | None, typer.Option(help="Only these instead of a part, such as Session5.")]
PreparedCorpus = Annotated[Path, typer.Argument(help="A prepared corpus.", readable=False)]
SettingsFile = Annotated[Path | None, typer.Option("--config", help="Settings as YAML or JSON.", readable=False)]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Change one setting, such as {example}; may be given several times."
    ),
]
ModalityNames = Annotated[str | None, typer.Option(help="Give the model only these, such as faces,speech.")]


def read_modalities(text: str | None) -> list[Modality] | None:
    """``faces,speech`` as modalities; None for all."""
    from maeum.types import MODALITIES

    if text is None:
        return None
    names = {word.strip() for word in text.split(",") if word.strip()}
    if not names or names - set(MODALITIES):
        raise typer.BadParameter(f"give some of {', '.join(MODALITIES)}, with commas", param_hint="--modalities")
    return [m for m in MODALITIES if m in names]


class HelpFromTables(TyperCommand):
    """A command whose help names what is registered, read only when the help is shown; it takes no empty path."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an empty path, which would be the folder that the command is started in."""
        for before, value in pairwise(["", *args]):
            name, equals, given = value.partition("=")
            if (before in _PATHS and not value) or (name in _PATHS and equals and not given):
                raise typer.BadParameter("is empty; give a path", ctx=ctx, param_hint=name or before)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fill the tables' names into the help of arguments and options, and show it."""
        for parameter in self.params:
            text = getattr(parameter, "help", None) or ""
            for placeholder, names in _TABLES.items():
                if placeholder in text:
                    text = text.replace(placeholder, names())
            if "{example}" in text:
                text = text.replace("{example}", _EXAMPLES.get(str(self.name), "training.lr=1e-3"))
            if text:
                parameter.help = text  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


def _corpora() -> str:
    from maeum.corpora import CORPORA

    return ", ".join(sorted([*CORPORA, "collage"]))


def _networks() -> str:
    from maeum.models.networks import MODELS

    return ", ".join(MODELS)


def _recognizers() -> str:
    from maeum.asr import ASR

    return ", ".join(ASR)


def _formats() -> str:
    from maeum.analysis.writers import WRITERS

    return ", ".join(WRITERS)


def _reproductions() -> str:
    from maeum.studies.reproduce import REPRODUCTIONS

    return ", ".join(REPRODUCTIONS)


def _topics() -> str:
    from maeum.cli.topics import topics

    return ", ".join(topics())


#: What stands in the help of an argument -> the names that take its place.
_TABLES: dict[str, Callable[[], str]] = {
    "{corpora}": _corpora,
    "{networks}": _networks,
    "{formats}": _formats,
    "{recognizers}": _recognizers,
    "{reproductions}": _reproductions,
    "{topics}": _topics,
}
#: Options that take a file or a folder.
_PATHS = ("--config", "--from", "--out", "--page", "--pages", "--source", "--store", "--transcript", "--transcripts")
#: Command -> a setting of it.
_EXAMPLES = {
    "prepare": "inputs.frame_every_s=0.5",
    "augment": "seed=1",
    "compare": "shared.training.epochs=5",
    "reproduce": "seeds=5",
    "compare-splits": "recipe.training.lr=1e-3",
}

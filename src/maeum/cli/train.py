"""``maeum train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maeum.cli.console import output_console, stoppable_training
from maeum.cli.options import Changes, Device
from maeum.wording import counted


def train(
    recipe: Annotated[Path, typer.Argument(help="All settings of the run, YAML or JSON.", readable=False)],
    out: Annotated[Path, typer.Option(help="The folder of the run; the model is written to its folder model/.")],
    changes: Changes = None,
    device: Device = "cpu",
) -> None:
    """Train a model from a recipe. May be stopped at any time; the same command goes on."""
    from maeum.files import check_output_folder
    from maeum.runs.recipe import Recipe
    from maeum.runs.run_folder import RUN
    from maeum.runs.train import train as run

    settings = Recipe.load(recipe, changes or ())
    check_output_folder(out, RUN)
    with stoppable_training(out):
        report = run(settings, out, device=device, console=output_console())
    if not report.first_process:
        return
    console = output_console()
    console.print(
        f"{counted(report.epochs, 'epoch')}, the best was {report.best_epoch}; model: {report.model}",
        soft_wrap=True,
    )
    for name, score in report.report.scores.items():
        console.print(f"dev {name} {score.value:.3f}")
    if report.report.overlap:
        console.print(report.report.overlap, style="bold yellow")

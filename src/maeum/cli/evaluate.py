"""``maeum evaluate``, ``report``, ``flops`` and ``calibrate``: trained models, measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maeum.cli.console import output_console, print_written, stoppable
from maeum.cli.options import ModalityNames, ModelName, Part, PreparedCorpus, Sessions, TargetName, read_modalities
from maeum.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from maeum.reports.report import ComparisonPage

_Split = Annotated[
    str | None,
    typer.Option(help="Which items are in which part, see `maeum splits`; by default as the model was trained."),
]
_REPORT_FILES = ("report.html", "report.md", "scores.json")
_AllowOverlap = Annotated[
    bool, typer.Option("--allow-overlap", help="Score items that overlap with what the model was trained on.")
]


def evaluate(
    store: PreparedCorpus,
    model: ModelName = None,
    part: Part = "dev",
    modalities: ModalityNames = None,
    subsets: Annotated[bool, typer.Option("--subsets", help="Score every subset of the modalities.")] = False,
    target: TargetName = None,
    split: _Split = None,
    sessions: Sessions = None,
    allow_overlap: _AllowOverlap = False,
    transcripts: Annotated[
        Path | None, typer.Option(help="Read the transcripts of `maeum transcribe` instead of the corpus' own.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the report, JSON, to this file.")] = None,
) -> None:
    """Score a model on a prepared corpus, with confidence intervals and a majority baseline."""
    from maeum.files import Made, check_output_file, has_keys, write_result
    from maeum.reports.terminal import show_report
    from maeum.runs.evaluate import evaluate as run
    from maeum.runs.evaluate import evaluate_subsets

    if subsets and (modalities is not None or out is not None or transcripts is not None):
        raise typer.BadParameter("goes with none of --modalities, --transcripts, --out", param_hint="--subsets")
    if out is not None:
        check_output_file(out, Made("a report of maeum evaluate", has_keys("scores", "label_set", "items")))
    options = _items(target, split, sessions, allow_overlap)
    if subsets:
        done, left_out = evaluate_subsets(model, store, part, **options)
    else:
        done, left_out = [run(model, store, part, read_modalities(modalities), transcripts=transcripts, **options)], ()
    console = output_console()
    for evaluation in done:
        show_report(evaluation.report, console)
        console.print()
    for line in left_out:
        console.print(line, soft_wrap=True)
    if out is not None:
        write_result(out, done[0].report.to_json() + "\n")
        print_written(console, out)


def report(
    store: PreparedCorpus,
    model: Annotated[list[str] | None, typer.Option(help="A model's name or folder; give it again for others.")] = None,
    part: Part = "dev",
    modalities: ModalityNames = None,
    target: TargetName = None,
    split: _Split = None,
    sessions: Sessions = None,
    allow_overlap: _AllowOverlap = False,
    title: Annotated[str, typer.Option(help="Of the page.")] = "",
    out: Annotated[Path, typer.Option(help="The folder of the report.")] = Path("report"),
) -> None:
    """Compare models on a prepared corpus: a page with figures, tables, every score's passport and every answer."""
    from maeum.files import Made, check_output_folder
    from maeum.reports.report import compare
    from maeum.reports.terminal import show_report
    from maeum.runs.evaluate import evaluate_models

    check_output_folder(out, Made("a report of maeum report", _is_report, _REPORT_FILES))
    options = {"modalities": read_modalities(modalities), **_items(target, split, sessions, allow_overlap)}
    console = output_console()
    done = []
    for evaluation in evaluate_models(model or (None,), store, part, features=True, **options):
        done.append(evaluation)
        show_report(evaluation.report, console)
        console.print()
    write_comparison(compare(done, title), out, console)


def flops(
    store: PreparedCorpus,
    model: ModelName = None,
    part: Part = "dev",
    items: Annotated[int, typer.Option(min=1, help="At most so many items.")] = 64,
    top_p: Annotated[
        float | None, typer.Option(min=0.001, max=1, help="Attention mass that MESM selects; by default its own.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the counts, JSON, to this file.")] = None,
) -> None:
    """Count a model's multiply-adds by stage, of all positions and of the selected ones, and the time it takes."""
    from maeum.files import Made, check_output_file, has_keys, write_result
    from maeum.studies.flops import flops as run

    if out is not None:
        check_output_file(out, Made("the counts of maeum flops", has_keys("stages", "done", "dense")))
    cost = run(model, store, part, items=items, top_p=top_p)
    console = output_console()
    cost.show(console)
    if out is not None:
        write_result(out, cost.to_json() + "\n")
        print_written(console, out)


def calibrate(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SETTINGS|STORE",
            help="Which model, on which dev items, with which card, YAML or JSON; with --coverage a prepared corpus.",
            readable=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder of the finished model.")],
    coverage: Annotated[
        float | None,
        typer.Option(help="Fit prediction sets on your own labelled clips: the true label is in 0.9 of them, say."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="With --coverage: a model's name or folder; by default the one that ships.")
    ] = None,
    part: Annotated[str | None, typer.Option(help="With --coverage: a part of the corpus; by default all.")] = None,
    target: TargetName = None,
) -> None:
    """Finish a trained model: fit its temperatures on dev items, measure its scores, write its card.

    With --coverage, give any model prediction sets that keep a promise on your own data.
    """
    from maeum.files import check_output_folder

    if coverage is not None:
        _add_coverage(source, out, coverage, model, part, target)
        return
    if given := next((n for n, v in (("model", model), ("part", part), ("target", target)) if v is not None), None):
        raise typer.BadParameter("goes with --coverage; the settings name the rest", param_hint=f"--{given}")
    from maeum.reports.inventory import card_table
    from maeum.runs.calibrate import CalibrateConfig, made_by
    from maeum.runs.calibrate import calibrate as run

    settings = CalibrateConfig.load(source)
    check_output_folder(out, made_by(settings))
    with stoppable(f"No model was finished in {out}; the same command begins anew."):
        finished = run(settings, out)
    console = output_console()
    console.print(card_table(finished.card))
    print_written(console, out)


def _add_coverage(
    store: Path, out: Path, share: float, model: str | None, part: str | None, target: str | None
) -> None:
    from maeum.files import check_output_folder
    from maeum.runs.coverage import MADE, add_coverage

    check_output_folder(out, MADE)
    with stoppable(f"No model was written to {out}; the same command begins anew."):
        coverage, fitted = add_coverage(model, store, out, share, part=part, target=target)
    console = output_console()
    for one in fitted:
        people = f", {counted(one.fit.people, 'speaker')}" if one.fit.people else ""
        console.print(
            f"{' + '.join(one.modalities)}: {counted(one.fit.items, 'clip')}{people}; {one.size:.1f} labels in a set, "
            f"one alone in {one.decided:.0%} of the clips",
            soft_wrap=True,
        )
    whom = "new clips, also of new people," if coverage.new_people else "new clips of the same people"
    console.print(f"The true label is in the sets of {coverage.percent} of {whom} that are like these.", soft_wrap=True)
    console.print(f"Use it: maeum analyse FILE --model {out}", soft_wrap=True)
    print_written(console, out)


def write_comparison(comparison: ComparisonPage, out: Path, console: Console) -> None:
    """Write a report's files into a folder, and remove the answers of an earlier report that it has none of."""
    from maeum.files import begins_with, write_result

    files = comparison.files()
    for name, text in files.items():
        write_result(out / name, text)
    for earlier in out.glob("answers-*.csv"):
        if earlier.name not in files and begins_with("id,speaker,true,")(earlier):
            earlier.unlink()
    print_written(console, f"{out / 'report.html'} and {counted(len(files) - 1, 'other file')}")


def _is_report(folder: Path) -> bool:
    """Whether a folder holds a report alone: one of several trainings has their runs beside it."""
    parts = (folder / name for name in _REPORT_FILES)
    return all(part.is_file() for part in parts) and not any(p.is_dir() and p.name[0] != "." for p in folder.iterdir())


def _items(target: str | None, split: str | None, sessions: str | None, allow_overlap: bool) -> dict[str, Any]:
    """Which items are scored, as `maeum.runs.evaluate` takes it."""
    from maeum.corpora.splits import read_split

    return {
        "target": target,
        "split": None if split is None else read_split(split),
        "sessions": None if sessions is None else [name.strip() for name in sessions.split(",")],
        "allow_overlap": allow_overlap,
    }

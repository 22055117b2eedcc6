"""``maeum compare``, ``reproduce`` and ``compare-splits``: several trainings that answer a question."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maeum.cli.console import output_console, print_written, stoppable_training
from maeum.cli.evaluate import write_comparison
from maeum.cli.options import Changes, Device
from maeum.visible import visible

_RunsFolder = Annotated[Path, typer.Option(help="The folder of the runs, and of the results.")]


def compare(
    comparisons: Annotated[
        list[Path], typer.Argument(help="Networks to compare on a corpus, YAML or JSON.", readable=False)
    ],
    out: _RunsFolder,
    page: Annotated[Path | None, typer.Option(help="Write the table, Markdown, to this file.")] = None,
    changes: Changes = None,
    device: Device = "cpu",
) -> None:
    """Train several networks on the same items and put their scores in one table. The same command goes on."""
    from maeum.files import Made, begins_with, check_output_file, check_output_folder, write_result
    from maeum.reports.report import compare as report_of
    from maeum.runs.run_folder import RUNS
    from maeum.studies.compare import PAGE_TITLE, Comparison, check_together, markdown_page
    from maeum.studies.compare import compare as run

    console = output_console()
    chosen = [Comparison.load(path, changes or ()) for path in comparisons]
    check_together(chosen)
    check_output_folder(out)
    for one in chosen:
        check_output_folder(out / one.name, RUNS)
    if page is not None:
        check_output_file(page, Made("a page of maeum compare", begins_with(PAGE_TITLE)))
    with stoppable_training(out):
        done = [run(one, out, device=device, console=console) for one in chosen]
    text = visible(markdown_page(done))
    console.print(text, soft_wrap=True)
    for outcome in done:
        write_comparison(
            report_of(outcome.evaluations, outcome.comparison.title), out / outcome.comparison.name, console
        )
    if page is not None:
        write_result(page, text)
        print_written(console, page)


def reproduce(
    what: Annotated[str, typer.Argument(help="{reproductions}.", show_default=False)],
    study: Annotated[
        Path, typer.Argument(help="Networks and a corpus, such as recipes/mesm/collage.yaml.", readable=False)
    ],
    out: _RunsFolder,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many; by default the study's own number.")] = None,
    pages: Annotated[Path | None, typer.Option(help="Write the page into this folder instead.")] = None,
    changes: Changes = None,
    device: Device = "cpu",
) -> None:
    """Make a paper's tables and figures from a prepared corpus. May be stopped; the same command goes on."""
    import json
    from dataclasses import replace

    from maeum.files import check_output_folder, write_whole
    from maeum.runs.run_folder import RUNS
    from maeum.studies.reproduce import REPRODUCTIONS
    from maeum.studies.study import Study

    if what not in REPRODUCTIONS:
        raise typer.BadParameter(f"there is {', '.join(REPRODUCTIONS)}", param_hint="WHAT")
    console = output_console()
    chosen = Study.load(study, [*(changes or ()), *([] if seeds is None else [f"seeds={seeds}"])])
    for folder in filter(None, (out, pages)):
        check_output_folder(folder)
    name = what.replace("/", "-")
    check_output_folder(out / chosen.name, replace(RUNS, names=(*RUNS.names, f"{name}.md")))
    with stoppable_training(out):
        made = REPRODUCTIONS[what](chosen, out, device, console)
    console.print(made.markdown, soft_wrap=True)
    folder = pages or out / chosen.name / ("" if chosen.protocol == "honest" else chosen.protocol)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {f"{name}.md": visible(made.markdown), f"{name}.json": json.dumps(made.numbers, indent=1) + "\n"}
    for file, content in {**texts, **made.files}.items():
        write_whole(folder / file, content)
        print_written(console, folder / file)


def compare_splits(
    config: Annotated[Path, typer.Argument(help="A recipe and the splits to compare; YAML or JSON.", readable=False)],
    out: _RunsFolder,
    changes: Changes = None,
    device: Device = "cpu",
    title: Annotated[str, typer.Option(help="Of the page.")] = "",
) -> None:
    """Train and score one recipe under several splits, side by side. May be stopped; the same command goes on."""
    from maeum.files import check_output_folder
    from maeum.reports.report import compare
    from maeum.reports.terminal import show_report
    from maeum.runs.run_folder import RUNS
    from maeum.studies.compare_splits import CompareConfig
    from maeum.studies.compare_splits import compare_splits as run

    console = output_console()
    settings = CompareConfig.load(config, changes or ())
    check_output_folder(out, RUNS)
    with stoppable_training(out):
        done = run(settings, out, device=device, console=console)
    for evaluation in done:
        show_report(evaluation.report, console)
        console.print()
    write_comparison(compare(done, title), out, console)

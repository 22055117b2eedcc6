"""The front door: what is typed becomes one call, and what goes wrong becomes one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maeum import __version__
from maeum.errors import MaeumError

if TYPE_CHECKING:
    from rich.console import Console

    from maeum.analysis.recognizer import Recognizer
    from maeum.reports.report import ComparisonPage
    from maeum.types import Modality

# Paths are declared readable=False: not "must not be", but "typer need not look", as our own errors name a remedy.

#: Exit codes: something the user can mend; stopped with Ctrl-C; the reader of our output went away.
BAD_INPUT, STOPPED, NO_READER = 2, 130, 141

app = typer.Typer(
    name="maeum",
    help="Emotion from faces, voice and words: a recording in, a timeline out. Everything runs on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


#: What typer raises for a command line that it does not understand (ClickException, wherever typer keeps it).
_Misunderstood: Any = typer.BadParameter.__mro__[2]


def _goes_on(out: Path) -> str:
    """What to tell who stopped a training."""
    if next(out.rglob("last.pt"), None) is None:
        return f"No checkpoint was written yet; the same command begins anew in {out}, with what its stores keep."
    return f"The last checkpoint is kept in {out}; the same command goes on from there."


class _Stopped(Exception):
    """Ctrl-C, with what is kept."""


def main() -> None:
    """Run the command line; every end that a user can cause is one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our signs shows ? in their place
    try:
        code = app(prog_name="maeum", standalone_mode=False)
        sys.stdout.flush()
    except MaeumError as error:
        code = _complain(str(error))
    except _Stopped as stop:
        code = _complain(f"stopped. {stop}", STOPPED)
    except (KeyboardInterrupt, typer.Abort):
        code = _complain("stopped.", STOPPED)
    except BrokenPipeError:
        # The reader (head, less) closed: nothing more can be said, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = NO_READER
    except OSError as error:
        if error.filename is None:
            raise
        code = _complain(f"{error.filename}: {error.strerror}. Look at its permissions and at the space on its disk.")
    except _Misunderstood as error:
        if len(sys.argv) < 2:
            error.show(file=sys.stderr)  # nothing was asked for: what there is
            code = error.exit_code
        else:
            context = getattr(error, "ctx", None)
            command = "maeum" if context is None else context.command_path
            code = _complain(f"{error.format_message().rstrip('.')}. See {command} --help", error.exit_code)
    raise SystemExit(code)


def _complain(message: str, code: int = BAD_INPUT) -> int:
    from rich.console import Console
    from rich.text import Text

    sys.stdout.flush()
    one_line = " ".join(message.split())
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        Text.assemble(("maeum: ", "bold red"), (one_line, "red"))
    )
    return code


def _console() -> Console:
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # `main` knows what to do

    return Output(highlight=False, emoji=False, markup=False)


def _progress_console() -> Console | None:
    """Where progress is drawn: standard error, if somebody watches it."""
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_terminal else None


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"maeum {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def analyse(
    recordings: Annotated[
        list[Path], typer.Argument(help="Videos or sound files.", show_default=False, readable=False)
    ],
    transcript: Annotated[
        Path | None,
        typer.Option(help="The words of the recording: .srt, .vtt, .json (with times) or .txt.", readable=False),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model's name or folder; the one that ships by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write results into this folder.")] = None,
    format: Annotated[
        str | None, typer.Option(help="json, csv, srt, html; several with commas. With --out: json,html.")
    ] = None,
    min_confidence: Annotated[float, typer.Option(help="Below this, 0 to 1, give no answer.")] = 0.0,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no timeline, only write files.")] = False,
) -> None:
    """Show which emotions faces, voices and words in a recording express, over time."""
    from maeum.analysis.recognizer import load
    from maeum.analysis.writers import WRITERS

    names = [f.strip().lower() for f in format.split(",") if f.strip()] if format is not None else ["json", "html"]
    for name in names:
        _ = WRITERS[name]
    if not names:
        raise typer.BadParameter(f"give one of {', '.join(WRITERS)}", param_hint="--format")
    if transcript is not None and len(recordings) > 1:
        raise typer.BadParameter(
            "one transcript belongs to one recording; analyse them one by one", param_hint="--transcript"
        )
    folder = out if out is not None else Path() if format is not None else None
    recognizer = load(model, device)
    failed = 0
    written: list[Path] = []
    for number, path in enumerate(recordings):
        try:
            clashes = [p.stem for p in recordings[:number]].count(path.stem) > 0
            stem = f"{path.stem}-{number + 1}" if clashes else None
            written += _analyse_one(
                recognizer, path, transcript, folder, names, stem, min_confidence, quiet, recordings
            )
        except MaeumError as error:
            failed += 1
            _complain(str(error))
        except KeyboardInterrupt as stop:
            kept = f"{len(written)} files written so far are whole and kept." if written else "Nothing was written."
            raise _Stopped(kept) from stop
    if failed:
        if len(recordings) > 1:
            _complain(f"{failed} of {len(recordings)} recordings could not be analysed; the others are done")
        raise typer.Exit(BAD_INPUT)


def _analyse_one(
    recognizer: Recognizer,
    path: Path,
    transcript: Path | None,
    folder: Path | None,
    formats: list[str],
    stem: str | None,
    min_confidence: float,
    quiet: bool,
    recordings: list[Path],
) -> list[Path]:
    from maeum.analysis.terminal import show_timeline
    from maeum.analysis.writers import write_timeline

    with _watching(path) as tell:
        timeline = recognizer.analyse(path, transcript, min_confidence=min_confidence, progress=tell)
    console = _console()
    if not quiet:
        show_timeline(timeline, console, recognizer.card)
    if folder is None:
        if not quiet:
            console.print()
        return []
    keep = [*recordings, *([transcript] if transcript else [])]
    written = write_timeline(timeline, folder, formats, card=recognizer.card, stem=stem, keep=keep)
    for file in written:
        console.print(f"written: {file}", soft_wrap=True)
    console.print()
    return written


class _watching:  # noqa: N801
    """A progress bar on standard error for one recording, where a person watches."""

    def __init__(self, path: Path) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self.console = _progress_console()
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), console=self.console, transient=True,
            disable=self.console is None,
        )  # fmt: skip
        self.task = self.bar.add_task(path.name, total=None)
        self.name = path.name

    def __enter__(self) -> Callable[[str, float, float], None]:
        self.bar.start()
        return self.tell

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def tell(self, what: str, done_s: float, all_s: float) -> None:
        self.bar.update(
            self.task, description=f"{self.name}: {what}", completed=min(done_s, all_s), total=all_s or None
        )


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help="Its name; see the list below with a wrong one.")],
    source: Annotated[Path, typer.Option(help="The corpus as its authors distribute it.", readable=False)],
    store: Annotated[Path, typer.Option(help="The folder to keep the prepared corpus in.")],
    config: Annotated[Path | None, typer.Option(help="Settings as YAML or JSON.", readable=False)] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode.")] = 1,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many items of each part, spread over it, for a trial.")
    ] = None,
    wave: Annotated[
        bool, typer.Option("--wave", help="Keep the sound itself too, for networks that read it (wav2vec2 in MMER).")
    ] = False,
    restart: Annotated[bool, typer.Option(help="Begin anew when the store was made with other settings.")] = False,
) -> None:
    """Read a corpus once and keep it ready for training. May be stopped at any time; the same command goes on."""
    from maeum.preparation.prepare import PrepareConfig
    from maeum.preparation.prepare import prepare as run

    settings = PrepareConfig.load(config) if config is not None else PrepareConfig()
    if limit is not None:
        settings = settings.model_copy(update={"limit": limit})
    if wave:
        settings = settings.model_copy(update={"decode": settings.decode.model_copy(update={"wave": True})})
    try:
        report = run(corpus, source, store, settings, workers=workers, restart=restart, console=_progress_console())
    except KeyboardInterrupt as stop:
        raise _Stopped(f"Finished shards are kept in {store}; the same command goes on from there.") from stop
    console = _console()
    for line in report.lines():
        console.print(line, soft_wrap=True)


@app.command()
def augment(
    store: Annotated[Path, typer.Argument(help="A corpus prepared with --wave.", readable=False)],
    out: Annotated[Path, typer.Option(help="The folder to keep the augmented views in.")],
    config: Annotated[Path | None, typer.Option(help="Settings as YAML or JSON.", readable=False)] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one.")] = "cpu",
    restart: Annotated[
        bool, typer.Option(help="Begin anew when augmented views were made with other settings.")
    ] = False,
) -> None:
    """Make an augmented view of every utterance: the same in other words and another voice. May be stopped; goes on."""
    from maeum.preparation.views import ViewsConfig, make_views

    settings = ViewsConfig.load(config) if config is not None else ViewsConfig()
    try:
        made = make_views(store, out, settings, device=device, restart=restart, console=_progress_console())
    except KeyboardInterrupt as stop:
        raise _Stopped(f"Finished shards are kept in {out}; the same command goes on from there.") from stop
    console = _console()
    console.print(f"{made.made} augmented views, {made.kept_words} in the same words; {made.left_out} left out, see "
                  f"{out / 'left_out.csv'}", soft_wrap=True)  # fmt: skip
    console.print(f"{made.shards} shards, {made.reused} of them were there already", soft_wrap=True)
    console.print(f"store: {out}", soft_wrap=True)


@app.command()
def transcribe(
    store: Annotated[Path, typer.Argument(help="A prepared corpus.", readable=False)],
    model: Annotated[str, typer.Option(help="A model that learned to spell, or a speech recogniser of the hub.")],
    out: Annotated[Path, typer.Option(help="The file of the transcripts, JSON lines.")],
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one.")] = "cpu",
) -> None:
    """Recognise what every utterance says, for --transcripts. May be stopped at any time; the same command goes on."""
    from maeum.data.store import Store
    from maeum.preparation.transcripts import transcribe as run

    try:
        made = run(store, model, out, device=device, console=_progress_console())
    except KeyboardInterrupt as stop:
        raise _Stopped(f"What was recognised is kept in {out}; the same command goes on from there.") from stop
    console = _console()
    console.print(f"{len(made.texts)} utterances", soft_wrap=True)
    if (rate := made.error_rate(Store(store).rows)) is not None:
        console.print(f"word error rate {rate[0]:.3f} of {rate[1]} utterances whose words are known", soft_wrap=True)
    console.print(f"written: {out}", soft_wrap=True)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="All settings of the run, YAML or JSON.", readable=False)],
    out: Annotated[Path, typer.Option(help="The folder of the run; the model is written to its folder model/.")],
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one.")] = "cpu",
) -> None:
    """Train a model from a recipe. May be stopped at any time; the same command goes on."""
    from maeum.training.cpu.memory import huge_pages

    huge_pages()  # before torch is there
    from maeum.runs.recipe import Recipe
    from maeum.runs.train import train as run

    try:
        report = run(Recipe.load(recipe), out, device=device, console=_console())
    except KeyboardInterrupt as stop:
        raise _Stopped(_goes_on(out)) from stop
    console = _console()
    console.print(
        f"{report.epochs} epochs, the best was {report.best_epoch + 1}; model: {report.model}", soft_wrap=True
    )
    for name, score in report.report.scores.items():
        console.print(f"dev {name} {score.value:.3f}")
    if report.report.overlap:
        console.print(report.report.overlap, style="bold yellow")


@app.command()
def compare(
    comparisons: Annotated[
        list[Path], typer.Argument(help="Networks to compare on a corpus, YAML or JSON.", readable=False)
    ],
    out: Annotated[Path, typer.Option(help="The folder of the runs.")],
    page: Annotated[Path | None, typer.Option(help="Write the table, Markdown, to this file.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one.")] = "cpu",
) -> None:
    """Train several networks on the same items and put their scores in one table. The same command goes on."""
    from maeum.files import write_whole
    from maeum.reports.report import compare as report_of
    from maeum.studies.compare import Comparison, markdown_page
    from maeum.studies.compare import compare as run

    console = _console()
    chosen = [Comparison.load(path) for path in comparisons]
    try:
        done = [run(one, out, device=device, console=console) for one in chosen]
    except KeyboardInterrupt as stop:
        raise _Stopped(_goes_on(out)) from stop
    text = markdown_page(done)
    console.print(text, soft_wrap=True)
    for outcome in done:
        _write_comparison(
            report_of(outcome.evaluations, outcome.comparison.title), out / outcome.comparison.name, console
        )
    if page is not None:
        write_whole(page, text)
        console.print(f"written: {page}", soft_wrap=True)


@app.command()
def evaluate(
    store: Annotated[Path, typer.Argument(help="A prepared corpus.", readable=False)],
    model: Annotated[str | None, typer.Option(help="A model's name or folder; the one that ships by default.")] = None,
    part: Annotated[str, typer.Option(help="Which part of the corpus.")] = "dev",
    modalities: Annotated[str | None, typer.Option(help="Give the model only these, such as faces,speech.")] = None,
    subsets: Annotated[bool, typer.Option("--subsets", help="Score every subset of the modalities.")] = False,
    target: Annotated[str | None, typer.Option(help="Which of the corpus' targets, such as four-class.")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Which items are in which part, see `maeum splits`; by default as the model was trained."),
    ] = None,
    sessions: Annotated[str | None, typer.Option(help="Only these instead of a part, such as Session5.")] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Score items that overlap with what the model was trained on.")
    ] = False,
    transcripts: Annotated[
        Path | None, typer.Option(help="Read these words, of `maeum transcribe`, instead of the corpus' own.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the report, JSON, to this file.")] = None,
) -> None:
    """Score a model on a prepared corpus, with intervals and beside the simplest guess."""
    from maeum.files import write_whole
    from maeum.reports.terminal import show_report
    from maeum.runs.evaluate import evaluate as run
    from maeum.runs.evaluate import evaluate_subsets

    if subsets and (modalities is not None or out is not None or transcripts is not None):
        raise typer.BadParameter("goes with none of --modalities, --transcripts, --out", param_hint="--subsets")
    options = _items(target, split, sessions, allow_overlap)
    if subsets:
        done = evaluate_subsets(model, store, part, **options)
    else:
        done = [run(model, store, part, _modalities(modalities), transcripts=transcripts, **options)]
    console = _console()
    for evaluation in done:
        show_report(evaluation.report, console)
        console.print()
    if out is not None:
        write_whole(out, done[0].report.to_json() + "\n")
        console.print(f"written: {out}", soft_wrap=True)


@app.command()
def report(
    store: Annotated[Path, typer.Argument(help="A prepared corpus.", readable=False)],
    model: Annotated[list[str] | None, typer.Option(help="A model's name or folder; give it again for others.")] = None,
    part: Annotated[str, typer.Option(help="Which part of the corpus.")] = "dev",
    modalities: Annotated[str | None, typer.Option(help="Give the models only these, such as faces,speech.")] = None,
    target: Annotated[str | None, typer.Option(help="Which of the corpus' targets, such as four-class.")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Which items are in which part, see `maeum splits`; by default as each model was trained."),
    ] = None,
    sessions: Annotated[str | None, typer.Option(help="Only these instead of a part, such as Session5.")] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Score items that overlap with what a model was trained on.")
    ] = False,
    title: Annotated[str, typer.Option(help="Of the page.")] = "",
    out: Annotated[Path, typer.Option(help="The folder of the report.")] = Path("report"),
) -> None:
    """Compare models on a prepared corpus: a page with figures, tables, every score's passport and every answer."""
    from maeum.reports.report import compare
    from maeum.reports.terminal import show_report
    from maeum.runs.evaluate import evaluate as run

    options = _items(target, split, sessions, allow_overlap)
    console = _console()
    done = []
    for name in model or (None,):
        done.append(run(name, store, part, _modalities(modalities), features=True, **options))
        show_report(done[-1].report, console)
        console.print()
    _write_comparison(compare(done, title), out, console)


def _items(target: str | None, split: str | None, sessions: str | None, allow_overlap: bool) -> dict[str, Any]:
    """What is scored, as `maeum.runs.evaluate` takes it."""
    from maeum.corpora.splits import read_split

    return {
        "target": target,
        "split": None if split is None else read_split(split),
        "sessions": None if sessions is None else [name.strip() for name in sessions.split(",")],
        "allow_overlap": allow_overlap,
    }


def _write_comparison(comparison: ComparisonPage, out: Path, console: Console) -> None:
    from maeum.files import write_whole

    files = comparison.files()
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_whole(out / name, text)
    console.print(f"written: {out / 'report.html'} and {len(files) - 1} other files", soft_wrap=True)


@app.command()
def flops(
    store: Annotated[Path, typer.Argument(help="A prepared corpus.", readable=False)],
    model: Annotated[str | None, typer.Option(help="A model's name or folder; the one that ships by default.")] = None,
    part: Annotated[str, typer.Option(help="Which part of the corpus.")] = "dev",
    items: Annotated[int, typer.Option(min=1, help="At most so many items.")] = 64,
    top_p: Annotated[
        float | None, typer.Option(min=0.001, max=1, help="Attention mass that MESM keeps; its own by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the counts, JSON, to this file.")] = None,
) -> None:
    """Count a model's multiply-adds by stage, of all positions and of those it keeps, beside the time it takes."""
    from maeum.files import write_whole
    from maeum.studies.flops import flops as run

    cost = run(model, store, part, items=items, top_p=top_p)
    console = _console()
    cost.show(console)
    if out is not None:
        write_whole(out, cost.to_json() + "\n")
        console.print(f"written: {out}", soft_wrap=True)


@app.command()
def reproduce(
    what: Annotated[
        str,
        typer.Argument(
            help="mesm/table, mesm/top-p, mesm/ablation, mesm/attention, mmer/table, mmer/ablation, mmer/confusion, "
            "mmer/features or mmer/transcripts.",
            show_default=False,
        ),
    ],
    study: Annotated[
        Path, typer.Argument(help="Networks and a corpus, such as recipes/mesm/collage.yaml.", readable=False)
    ],
    out: Annotated[Path, typer.Option(help="The folder of the runs, and of what is written.")],
    seeds: Annotated[int | None, typer.Option(min=1, help="How many; the study's own number by default.")] = None,
    pages: Annotated[Path | None, typer.Option(help="Write the page into this folder instead.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one.")] = "cpu",
) -> None:
    """Make a paper's tables and figures from a prepared corpus. May be stopped; the same command goes on."""
    import json

    from maeum.training.cpu.memory import huge_pages

    huge_pages()  # before torch is there
    from maeum.files import write_whole
    from maeum.studies.reproduce import REPRODUCTIONS
    from maeum.studies.study import Study

    if what not in REPRODUCTIONS:
        raise typer.BadParameter(f"there is {', '.join(REPRODUCTIONS)}", param_hint="WHAT")
    console = _console()
    chosen = Study.load(study)
    if seeds is not None:
        chosen = chosen.model_copy(update={"seeds": seeds})
    try:
        made = REPRODUCTIONS[what](chosen, out, device, console)
    except KeyboardInterrupt as stop:
        raise _Stopped(_goes_on(out)) from stop
    console.print(made.markdown, soft_wrap=True)
    folder = pages or out / chosen.name / ("" if chosen.protocol == "honest" else chosen.protocol)
    folder.mkdir(parents=True, exist_ok=True)
    name = what.replace("/", "-")
    texts = {f"{name}.md": made.markdown, f"{name}.json": json.dumps(made.numbers, indent=1) + "\n"}
    for file, content in {**texts, **made.files}.items():
        write_whole(folder / file, content)
        console.print(f"written: {folder / file}", soft_wrap=True)


@app.command()
def splits(
    store: Annotated[Path, typer.Argument(help="A prepared corpus.", readable=False)],
    split: Annotated[
        str,
        typer.Option(help="official, a folder of lists, a recipe, or settings such as '{kind: random, by: speaker}'."),
    ] = "official",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the split as lists of ids into this folder.")] = None,
) -> None:
    """Show what is in each part of a prepared corpus under a split, and what the parts share."""
    from maeum.corpora.splits import read_split
    from maeum.data.store import Store
    from maeum.reports.splits import report_split

    opened = Store(store)
    members = opened.members()
    made = read_split(split).split(members)
    report = report_split(made, members, str(opened.manifest["name"]))
    console = _console()
    if markdown:
        console.print(report.markdown(), soft_wrap=True, end="")
    else:
        report.show(console)
    for path in made.write(out) if out is not None else ():
        console.print(f"written: {path}", soft_wrap=True)


@app.command(name="compare-splits")
def compare_splits(
    config: Annotated[Path, typer.Argument(help="A recipe and the splits to compare; YAML or JSON.", readable=False)],
    out: Annotated[Path, typer.Option(help="The folder of the runs, and of the report.")],
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one.")] = "cpu",
    title: Annotated[str, typer.Option(help="Of the page.")] = "",
) -> None:
    """Train and score one recipe under several splits, side by side. May be stopped; the same command goes on."""
    from maeum.reports.report import compare
    from maeum.reports.terminal import show_report
    from maeum.studies.compare_splits import CompareConfig
    from maeum.studies.compare_splits import compare_splits as run

    console = _console()
    try:
        done = run(CompareConfig.load(config), out, device=device, console=console)
    except KeyboardInterrupt as stop:
        raise _Stopped(_goes_on(out)) from stop
    for evaluation in done:
        show_report(evaluation.report, console)
        console.print()
    _write_comparison(compare(done, title, same_items=False), out, console)


@app.command()
def calibrate(
    config: Annotated[
        Path, typer.Argument(help="Which model, on which dev items, with which card; YAML or JSON.", readable=False)
    ],
    out: Annotated[Path, typer.Option(help="The folder of the finished model.")],
) -> None:
    """Finish a trained model: fit its temperatures on dev items, measure its scores, write its card."""
    from maeum.reports.inventory import card_table
    from maeum.runs.calibrate import CalibrateConfig
    from maeum.runs.calibrate import calibrate as run

    finished = run(CalibrateConfig.load(config), out)
    console = _console()
    console.print(card_table(finished.card))
    console.print(f"written: {out}", soft_wrap=True)


def _modalities(text: str | None) -> list[Modality] | None:
    """``faces,speech`` as modalities."""
    from maeum.types import MODALITIES

    if text is None:
        return None
    asked = {word.strip() for word in text.split(",") if word.strip()}
    if not asked or asked - set(MODALITIES):
        raise typer.BadParameter(f"give some of {', '.join(MODALITIES)}, with commas", param_hint="--modalities")
    return [m for m in MODALITIES if m in asked]


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show the whole card of this model, by name or folder.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Show the whole card of each.")] = False,
) -> None:
    """List the models on this machine: size, data, licence, scores."""
    from maeum.models.pretrained import available, load_pretrained
    from maeum.reports.inventory import card_table, models_table

    cards = available()
    console = _console()
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


@app.command()
def doctor() -> None:
    """Say what is installed, what runs where, and what is missing."""
    from maeum.reports.inventory import checkup

    console = _console()
    findings = checkup()
    for finding in findings:
        console.print(finding.line())
    broken = [f for f in findings if f.state == "broken"]
    if broken:
        raise MaeumError(f"{len(broken)} thing{'s' * (len(broken) != 1)} broken: {', '.join(f.name for f in broken)}")
    console.print("All that the main job needs is there.", style="bold green")

"""``maeum prepare``, ``augment`` and ``transcribe``: a corpus made ready for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maeum.cli.console import output_console, print_written, progress_console, stoppable
from maeum.cli.options import Changes, Device, PreparedCorpus, SettingsFile
from maeum.wording import counted


def prepare(
    corpus: Annotated[str, typer.Argument(help="Corpus: {corpora}.", show_default=False)],
    source: Annotated[Path, typer.Option(help="The corpus as its authors distribute it.", readable=False)],
    store: Annotated[Path, typer.Option(help="The folder to keep the prepared corpus in.")],
    config: SettingsFile = None,
    changes: Changes = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode.")] = 1,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many items of each part, spread over it, for a trial.")
    ] = None,
    wave: Annotated[
        bool | None,
        typer.Option(
            "--wave/--no-wave",
            help="Whether the sound itself is kept; pretrained speech encoders read it.",
            show_default="--wave",
        ),
    ] = None,
    restart: Annotated[bool, typer.Option(help="Begin anew when the store was made with other settings.")] = False,
) -> None:
    """Read a corpus once and keep it ready for training. May be stopped at any time; the same command goes on."""
    from maeum.files import check_output_folder
    from maeum.preparation.prepare import PrepareConfig
    from maeum.preparation.prepare import prepare as run

    given = [
        *(changes or ()),
        *([] if limit is None else [f"limit={limit}"]),
        *([] if wave is None else [f"wave={str(wave).lower()}"]),
    ]
    settings = PrepareConfig.load(config, given)
    check_output_folder(store)
    with stoppable(f"Finished shards are kept in {store}; the same command goes on from there."):
        report = run(corpus, source, store, settings, workers=workers, restart=restart, console=progress_console())
    console = output_console()
    for line in report.lines():
        console.print(line, soft_wrap=True)


def augment(
    store: Annotated[Path, typer.Argument(help="A prepared corpus that keeps the sound itself.", readable=False)],
    out: Annotated[Path, typer.Option(help="The folder to keep the augmented views in.")],
    config: SettingsFile = None,
    changes: Changes = None,
    device: Device = "cpu",
    restart: Annotated[
        bool, typer.Option(help="Begin anew when augmented views were made with other settings.")
    ] = False,
) -> None:
    """Make an augmented view of every utterance: the same in other words and another voice. May be stopped; goes on."""
    from maeum.files import check_output_folder
    from maeum.preparation.views import ViewsConfig, make_views

    settings = ViewsConfig.load(config, changes or ())
    check_output_folder(out)
    with stoppable(f"Finished shards are kept in {out}; the same command goes on from there."):
        made = make_views(store, out, settings, device=device, restart=restart, console=progress_console())
    console = output_console()
    console.print(
        f"{counted(made.made, 'augmented view')}, {made.same_words} in the same words; "
        f"{made.left_out} left out, see {out / 'left_out.csv'}",
        soft_wrap=True,
    )
    console.print(f"{counted(made.shards, 'shard')}, {made.reused} of them made before", soft_wrap=True)
    console.print(f"store: {out}", soft_wrap=True)


def transcribe(
    store: PreparedCorpus,
    model: Annotated[str, typer.Option(help="A model with a CTC head, or a speech recogniser of the hub.")],
    out: Annotated[Path, typer.Option(help="The file of the transcripts, JSON lines.")],
    device: Device = "cpu",
) -> None:
    """Recognise the words of every utterance, for --transcripts. May be stopped; the same command goes on."""
    from maeum.data.store import Store
    from maeum.errors import ConfigError
    from maeum.files import check_output_file
    from maeum.preparation.transcripts import transcribe as run

    check_output_file(out)
    with stoppable(f"What was recognised is kept in {out}; the same command goes on from there."):
        made = run(store, model, out, device=device, console=progress_console())
    console = output_console()
    console.print(counted(len(made.texts), "utterance"), soft_wrap=True)
    try:
        rate = made.error_rate(Store(store).rows)
    except ConfigError as error:  # the transcripts are made, and of use without it
        console.print(f"no word error rate: {error}", soft_wrap=True)
    else:
        if rate is not None:
            known = counted(rate[1], "utterance")
            console.print(f"word error rate {rate[0]:.3f} on {known} with a known transcript", soft_wrap=True)
    print_written(console, out)

"""What is installed on this machine: models, packages, devices, codecs and plug-ins, and what is missing."""

from __future__ import annotations

import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Literal

import av
import torch
from rich.table import Table
from rich.text import Text

from maeum import __version__
from maeum.analysis.writers import WRITERS
from maeum.asr import ASR
from maeum.corpora import CORPORA
from maeum.corpora.splits import SPLITS
from maeum.errors import MaeumError
from maeum.evaluation import METRICS
from maeum.models.card import ModelCard, Score
from maeum.models.networks import MODELS
from maeum.models.pretrained import EMBEDDED, load_pretrained
from maeum.models.weights import WEIGHTS, Weights, is_fetched
from maeum.registry import Registry
from maeum.training.losses import LOSSES
from maeum.wording import counted

State = Literal["good", "optional", "broken", "broken plug-in"]

_PACKAGES = (
    "torch",
    "numpy",
    "av",
    "soxr",
    "pillow",
    "transformers",
    "safetensors",
    "sentencepiece",
    "pyarrow",
    "mtcnn",
)
#: Extra -> (module, what it is for).
_EXTRAS = {
    "track": ("tensorboard", "training curves in TensorBoard"),
    "transcripts": ("jiwer", "word error rates of recognised transcripts"),
}
#: The tables that other packages can add to.
TABLES: tuple[Registry[Any], ...] = (CORPORA, SPLITS, MODELS, LOSSES, METRICS, ASR, WRITERS)
_DECODERS = ("h264", "hevc", "vp9", "av1", "mpeg4", "aac", "mp3", "opus", "flac", "pcm_s16le")


@dataclass(frozen=True)
class Finding:
    """One line of `maeum doctor`: what was looked at, whether it works, and what was found."""

    name: str
    state: State
    text: str

    def line(self) -> Text:
        """The line as it is printed; the state is a word too, not a colour alone."""
        mark = {
            "good": ("ok       ", "green"),
            "optional": ("optional ", "yellow"),
            "broken": ("BROKEN   ", "bold red"),
            "broken plug-in": ("BROKEN   ", "bold red"),  # stops only the commands that need it
        }
        return Text.assemble(mark[self.state], (f"{self.name}: ", "bold"), self.text)


def checkup() -> list[Finding]:
    """Look at everything that analysing recordings needs, and at what is optional."""
    findings = [
        Finding("maeum", "good", f"{__version__}, Python {platform.python_version()} at {sys.executable}"),
        _machine(),
        *_versions(),
        *_devices(),
        _codecs(),
        _try("face detector", _detector),
        _compiled(
            "the face detector's arithmetic",
            "cascade",
            "kernels",
            "without them faces are detected just as well, at about half the speed",
        ),
        _sparse(),
        _compiled(
            "training's dropout, in fp32,", "dropout", "dropout", "without it PyTorch's is used, which takes longer"
        ),
        _try("embedded model", _embedded),
        *_extras(),
        *_weights(),
        *_plugins(),
    ]
    unwanted = [name for name in ("torchvision", "torchaudio") if find_spec(name)]
    if unwanted:
        text = f"{', '.join(unwanted)} not needed; beside a CPU build of torch it can break imports"
        findings.append(Finding("packages", "optional", text))
    return findings


def models_table(cards: Sequence[ModelCard]) -> Table:
    """Models side by side, in 80 columns: size, modalities, data, licence and main scores."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("model", style="bold", overflow="fold")
    table.add_column("size", no_wrap=True)
    table.add_column("reads", no_wrap=True)
    table.add_column("trained on", overflow="fold")
    table.add_column("licence", overflow="fold")
    measures = {s.name for card in cards for s in _main_scores(card)}
    table.add_column(measures.pop() if len(measures) == 1 else "score", overflow="fold", ratio=1)
    for card in cards:
        table.add_row(
            card.name,
            f"{card.bytes / 1e6:.1f} MB",
            "\n".join(card.modalities) or "-",
            "\n".join(dict.fromkeys(_short(data) for data in card.data)) or "-",
            Text("non-commercial", "bold yellow") if card.non_commercial else card.licence,
            "\n".join(_main_score(s, s.name if measures else "") for s in _main_scores(card)) or "-",
        )
    return table


def weights_table(known: Sequence[Weights]) -> Table:
    """Pretrained weights of others that can be fetched: size, licence, and whether they are on this machine."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in ("weights", "size", "licence", "on this machine", "what they are"):
        table.add_column(column, overflow="fold")
    for weights in known:
        here = "yes" if is_fetched(weights.name) else f"no: maeum fetch {weights.name}"
        size = f"{weights.size / 1e6:.0f} MB"
        table.add_row(Text(weights.name, "bold"), size, weights.licence, here, f"{weights.title}; {weights.source}")
    return table


def _weights() -> list[Finding]:
    return [
        Finding(f"weights {weights.name}", "good", f"{weights.title} ({weights.licence})")
        if is_fetched(weights.name)
        else Finding(f"weights {weights.name}", "optional", f"not fetched; {weights.title}: maeum fetch {weights.name}")
        for weights in WEIGHTS.values()
    ]


def _main_score(score: Score, name: str) -> str:
    """``0.58 dev``, and the overlap of the split where there is one."""
    return f"{score.value:.2f} {name} {score.data}" + (f" ({score.overlap})" if score.overlap else "")


def _short(data: str) -> str:
    """``FER2013, facial expression recognition challenge: licence`` -> ``FER2013``."""
    return re.split(r"[,:;(]| of ", data)[0].strip()


def _main_scores(card: ModelCard) -> list[Score]:
    """One score for each data set: with most modalities, and the UAR where it was measured."""
    main: dict[str, Score] = {}
    for score in card.scores:
        data = score.data.partition(", ")[0]
        if data not in main or _rank(score) > _rank(main[data]):
            main[data] = score
    return list(main.values())


def _rank(score: Score) -> tuple[int, bool]:
    """Of two scores of a data set the one of higher rank is shown."""
    modalities = score.data.partition(", ")[2]
    return modalities.count("+"), score.name.lower() == "uar"


def card_table(card: ModelCard) -> Table:
    """A model's whole card for the terminal."""
    table = Table(title=Text.assemble((card.name, "bold"), f"  {card.title}"), title_justify="left", show_header=False,
                  box=None, padding=(0, 2, 0, 0))  # fmt: skip
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    licence = Text(card.licence)
    if card.non_commercial:
        licence.append("  NON-COMMERCIAL use only", "bold yellow")
    table.add_row("licence", licence)
    for m, branch in card.branches.items():
        alone = Text(f"{m} by itself: {branch.licence}")
        if branch.non_commercial:
            alone.append("  NON-COMMERCIAL use only", "bold yellow")
        table.add_row("", alone)
    table.add_row("size", f"{card.bytes / 1e6:.1f} MB, {card.parameters:,} parameters")
    table.add_row("reads", ", ".join(card.modalities) or "-")
    table.add_row("labels", ", ".join(card.labels))
    table.add_row("data", "\n".join(card.data) or "-")
    for data in dict.fromkeys(score.data for score in card.scores):
        table.add_row("scores", _scores_on(data, [score for score in card.scores if score.data == data]))
    if card.intended_use:
        table.add_row("meant for", card.intended_use)
    if card.limits:
        table.add_row("limits", card.limits)
    return table


def _scores_on(data: str, scores: Sequence[Score]) -> str:
    """``dev: uar 0.582 (0.554 to 0.635), ece 0.067; 240 items, 4 speakers``."""
    shown = []
    for score in scores:
        interval = f" ({score.low:.3f} to {score.high:.3f})" if score.low is not None and score.high is not None else ""
        shown.append(f"{score.name} {score.value:.3f}{interval}")
    counts = ((scores[0].items, "item"), (scores[0].speakers, "speaker"))
    about = ", ".join(counted(number, what, separate=True) for number, what in counts if number)
    return "; ".join(filter(None, (f"{data}: {', '.join(shown)}", about, scores[0].overlap)))


def _machine() -> Finding:
    threads = f"torch uses {torch.get_num_threads()} of {os.cpu_count()} processors"
    return Finding("machine", "good", f"{platform.system()} {platform.machine()}, {threads}")


def _versions() -> list[Finding]:
    installed, missing = [], []
    for name in _PACKAGES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    findings = [Finding("packages", "good", ", ".join(installed))]
    if missing:
        findings.append(Finding("packages", "broken", f"missing: {', '.join(missing)}; install maeum again with pip"))
    return findings


def _devices() -> list[Finding]:
    findings = [Finding("cpu", "good", "decoding, face detection, and models by default")]
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        findings.append(Finding("cuda", "good", f"{names}: models with --device cuda"))
    else:
        findings.append(Finding("cuda", "optional", "no GPU that torch can use; everything runs on the CPU"))
    return findings


def _codecs() -> Finding:
    missing = [name for name in _DECODERS if name not in av.codecs_available]
    libraries = ".".join(str(n) for n in av.library_versions["libavcodec"])
    if missing:
        return Finding("codecs", "optional", f"libavcodec {libraries}; cannot decode {', '.join(missing)}")
    return Finding(
        "codecs",
        "good",
        f"libavcodec {libraries} decodes {', '.join(_DECODERS)} and {len(av.codecs_available) - len(_DECODERS)} more",
    )


def _detector() -> str:
    from maeum.media.mtcnn.networks import load_networks

    load_networks()
    return "MTCNN's published weights found in the mtcnn package"


def _compiled(what: str, library: str, name: str, without: str) -> Finding:
    from maeum.native import missing

    reason = missing(library)
    if reason is None:
        return Finding(name, "good", f"{what} in C++, compiled for this processor")
    return Finding(name, "optional", f"{reason}; {without}")


def _sparse() -> Finding:
    from maeum.native import missing
    from maeum.sparse import operators
    from maeum.sparse.kernels import kernels

    title = "sparse operators"
    try:
        with warnings.catch_warnings(action="ignore"):  # the finding names the same
            name = operators().name
    except MaeumError as error:
        return Finding(title, "broken", str(error))
    if name == "native":
        found = kernels()
        precisions = "fp32 and bf16" if found is not None and found.has_bf16 else "fp32"
        return Finding(title, "good", f"MESM's in C++ ({precisions}), compiled for this processor")
    if name == "triton":
        text = "MESM's in Triton on a GPU, NOT VERIFIED ON A GPU (in Triton's interpreter alone); elsewhere in PyTorch"
        return Finding(title, "optional", text)
    reason = missing("sparse") or f"MAEUM_SPARSE={os.environ.get('MAEUM_SPARSE')}"
    return Finding(
        title, "optional", f"{reason}; MESM's in PyTorch ({name}) give the same results at less than half the speed"
    )


def _embedded() -> str:
    pretrained = load_pretrained(EMBEDDED)
    card = pretrained.card
    mark = ", NON-COMMERCIAL" if card.non_commercial else ""
    return f"{card.name} loads, {card.parameters:,} parameters, {card.bytes / 1e6:.1f} MB, licence {card.licence}{mark}"


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "good", check())
    except MaeumError as error:
        return Finding(name, "broken", str(error))


def _extras() -> list[Finding]:
    return [
        Finding(module, "good", what)
        if find_spec(module)
        else Finding(module, "optional", f"not installed; {what}: pip install 'maeum[{extra}]'")
        for extra, (module, what) in _EXTRAS.items()
    ]


def _plugins() -> list[Finding]:
    """What other installed packages add, one line an entry."""
    return [
        Finding(
            f"plug-in {plugin.name}",
            "good" if plugin.problem is None else "broken plug-in",
            f"{table.kind} of {plugin.package}"
            + ("" if plugin.problem is None else f", cannot be used: {plugin.problem}"),
        )
        for table in TABLES
        for plugin in table.plugins()
    ]

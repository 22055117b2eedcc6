"""Figures of a report, as SVG."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from maeum.evaluation.base import Floats, Ints
from maeum.evaluation.calibration import ReliabilityBin
from maeum.evaluation.features import Projection
from maeum.evaluation.selective import RiskPoint

#: Colours that people with any colour vision can tell apart (Okabe and Ito 2008), then a second round of them.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#B8A400")
_MARKS = "osD^vPX*"
_INK, _SOFT = "#1d2126", "#8a919b"
_STYLE: Any = {"font.family": "DejaVu Sans", "font.size": 9, "svg.fonttype": "path", "svg.hashsalt": "maeum",
          "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": _SOFT}  # fmt: skip


def confusion(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Shares of each true class (rows) that are answered as each class (columns), with counts."""
    table = np.asarray(counts, np.float64)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    figure, axes = _figure(4.6, 4.1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*table.shape):
        colour = "white" if shares[row, column] > 0.55 else _INK
        axes.text(column, row, f"{table[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    axes.spines[:].set_visible(False)
    return _svg(figure)


def reliability(bins: Sequence[ReliabilityBin]) -> str:
    """Accuracy against confidence; the size of a point says how many items."""
    figure, axes = _figure(3.6, 3.3)
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, linestyle="--")
    filled = [(b.confidence, b.accuracy, b.count) for b in bins if b.confidence is not None and b.accuracy is not None]
    x, y, counts = (np.asarray(column, np.float64) for column in zip(*filled, strict=True))
    axes.plot(x, y, color=COLOURS[0], linewidth=1.2)
    axes.scatter(x, y, s=12 + 180 * counts / counts.sum(), color=COLOURS[0], zorder=3)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="share of right answers")
    return _svg(figure)


def risk_coverage(points: Sequence[RiskPoint]) -> str:
    """Error rate among the answers that are given, against the share of items that get one."""
    figure, axes = _figure(3.6, 3.3)
    axes.plot([p.coverage for p in points], [p.risk for p in points], color=COLOURS[0], linewidth=1.4)
    axes.set(xlim=(0, 1.02), ylim=(0, None), xlabel="share of items answered", ylabel="share of wrong answers")
    return _svg(figure)


def projection(projected: Projection, target: Ints, names: Sequence[str]) -> str:
    """Items in the plane of largest variance, one colour and mark a class."""
    figure, axes = _figure(5.2, 3.9)
    for number, name in enumerate(names):
        mine: Floats = projected.points[target == number]
        axes.scatter(mine[:, 0], mine[:, 1], s=11, alpha=0.65, linewidths=0, label=name,
                     color=COLOURS[number % len(COLOURS)], marker=_MARKS[number % len(_MARKS)])  # fmt: skip
    along = [f"axis {i + 1}: {share:.0%} of the variance" for i, share in enumerate(projected.explained)]
    axes.set(xlabel=along[0], ylabel=along[1])
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


def agreement(predicted: Floats, true: Floats, name: str) -> str:
    """Predicted against true values of a scale."""
    figure, axes = _figure(3.6, 3.3)
    low, high = float(min(predicted.min(), true.min())), float(max(predicted.max(), true.max()))
    axes.plot([low, high], [low, high], color=_SOFT, linewidth=1, linestyle="--")
    axes.scatter(true, predicted, s=9, alpha=0.5, linewidths=0, color=COLOURS[0])
    axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
    return _svg(figure)


def sweep(
    curves: Mapping[str, Sequence[tuple[float, float, tuple[float, float] | None]]],
    lines: Mapping[str, float],
    score: str,
) -> str:
    """Scores by the selected attention mass.

    Args:
        curves: network -> (attention mass, score, its interval).
        lines: what networks score that select everything.
        score: its name.
    """
    figure, axes = _figure(5.4, 4.4)
    for number, (name, points) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot([p for p, _, _ in points], [s for _, s, _ in points], color=colour, linewidth=1.4, label=name,
                  marker=_MARKS[number % len(_MARKS)], markersize=4)  # fmt: skip
        known = [(p, bounds) for p, _, bounds in points if bounds is not None]
        axes.fill_between([p for p, _ in known], [b[0] for _, b in known], [b[1] for _, b in known], color=colour,
                          alpha=0.12, linewidth=0)  # fmt: skip
    for number, (name, value) in enumerate(lines.items()):
        axes.axhline(value, color=_INK, linewidth=1.1, linestyle=("--", ":", "-.")[number % 3], label=name)
    axes.set(xlabel="p, the attention mass that is selected", ylabel=score, xlim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    return _svg(figure)


def densities(drawn: Mapping[str, Mapping[str, Tensor]], landmarks: Tensor) -> str:
    """How often each place of an aligned face is selected: a row a network, a column an emotion.

    Args:
        drawn: network -> emotion -> map ``(h, w)``, 0..1.
        landmarks: places of the landmarks that faces are aligned on, ``(n, 2)``, 0..1.
    """
    emotions = list(next(iter(drawn.values())))
    with rc_context(_STYLE):
        figure = Figure(figsize=(1.25 * len(emotions) + 1.2, 1.35 * len(drawn) + 0.5), layout="constrained")
        axes = figure.subplots(len(drawn), len(emotions), squeeze=False)
    for row, (name, maps) in enumerate(drawn.items()):
        top = max(float(one.max()) for one in maps.values())
        for column, emotion in enumerate(emotions):
            here: Axes = axes[row, column]
            here.axis("off")
            if emotion in maps:
                shown = maps[emotion]
                here.imshow(shown.numpy(), cmap="magma", vmin=0, vmax=top, interpolation="none")
                points = landmarks * shown.shape[0] - 0.5
                here.scatter(points[:, 0], points[:, 1], s=5, color="white", edgecolors="black", linewidths=0.4)
            if row == 0:
                here.set_title(emotion, fontsize=8)
        axes[row, 0].text(
            -0.08, 0.5, textwrap.fill(name, 18), transform=axes[row, 0].transAxes, rotation=90, ha="right", va="center",
            fontsize=7, multialignment="center",
        )  # fmt: skip
    return _svg(figure)


def selected_positions(
    face: Tensor | None,
    selected_face: Sequence[Tensor],
    sound: Tensor | None,
    selected_sound: Sequence[Tensor],
    title: str,
) -> bytes:
    """A face and a spectrogram, and over each the positions that every block selects; PNG.

    Args:
        face: ``(3, h, w)``, 0..255.
        selected_face: ``(h / 2, w / 2)`` and smaller, bool.
        sound: log-mel ``(bands, frames)``.
        selected_sound: as for the face.
        title: over the picture.
    """
    shown_rows = [pair for pair in ((face, selected_face, 1.9), (sound, selected_sound, 1.5)) if pair[0] is not None]
    with rc_context(_STYLE):
        figure = Figure(figsize=(8.6, sum(height for _, _, height in shown_rows) + 0.5), layout="constrained", dpi=120)
        axes = figure.subplots(
            max(len(shown_rows), 1), 4, squeeze=False, height_ratios=[h for _, _, h in shown_rows] or None
        )
    figure.suptitle(title, fontsize=9)
    for row, (shown, selected, _) in enumerate(shown_rows):
        assert shown is not None
        spectrogram = shown.ndim == 2
        picture = shown.float() if spectrogram else shown.permute(1, 2, 0).float() / 255
        for column in range(4):
            here: Axes = axes[row, column]
            here.axis("off")
            size = (0, shown.shape[-1], 0, shown.shape[-2]) if spectrogram else (0, shown.shape[-1], shown.shape[-2], 0)
            origin: Any = "lower" if spectrogram else "upper"
            here.imshow(
                picture.numpy(), cmap="gray", extent=size, origin=origin, aspect="auto" if spectrogram else "equal"
            )
            if column:
                mask = selected[column - 1].float()
                veil = np.zeros((*mask.shape, 4))
                veil[..., 3] = 0.78 * (1 - mask.numpy())
                here.imshow(
                    veil, extent=size, origin=origin, interpolation="nearest", aspect="auto" if spectrogram else "equal"
                )
                here.set_title(f"block {column}: {mask.mean():.0%} selected", fontsize=8)
            else:
                here.set_title("voice, mel bands" if spectrogram else "face", fontsize=8)
    written = io.BytesIO()
    with rc_context(_STYLE):
        figure.savefig(written, format="png", metadata={"Software": None})
    return written.getvalue()


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def _svg(figure: Figure) -> str:
    """The figure's XML without a date, so that equal results give equal files."""
    written = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    text = written.getvalue()
    return text[text.index("<svg") :]

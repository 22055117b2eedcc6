"""Following faces over sampled frames: which boxes belong to one person."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from maeum.errors import InputError
from maeum.media.boxes import FaceBox


@dataclass(frozen=True)
class TrackedFaces:
    """One face over time.

    id: counts from 0 in the order of appearance. boxes: ``(time_s, box)`` in the order of time; a time at which the
    face was not found has none.
    """

    id: int
    boxes: tuple[tuple[float, FaceBox], ...]

    @property
    def start_s(self) -> float:
        """When it is first seen."""
        return self.boxes[0][0]

    @property
    def end_s(self) -> float:
        """When it is last seen."""
        return self.boxes[-1][0]


@dataclass
class _Open:
    id: int
    boxes: list[tuple[float, FaceBox]] = field(default_factory=list)


def track_faces(
    times_s: Sequence[float],
    boxes_per_frame: Sequence[Sequence[FaceBox]],
    longest_gap_s: float = 1.6,
    farthest: float = 0.75,
    most_growth: float = 1.8,
) -> list[TrackedFaces]:
    """Join boxes of successive frames to faces by where they are and how large.

    Each open track and each box of a frame form a pair when their centres are less than ``farthest`` face sizes apart
    and their sizes differ by less than a factor ``most_growth``; the closest pairs are joined first. A box without a
    track opens one. After a cut nothing fits, so new tracks begin; people who return within ``longest_gap_s`` at the
    same place are the same track.

    Args:
        times_s: when the frames are shown, ascending; distances may vary.
        boxes_per_frame: the faces of each frame.
        longest_gap_s: a track that is not seen for longer is closed.
        farthest: largest distance of centres, in face sizes.
        most_growth: largest ratio of sizes.

    Returns:
        Tracks in the order of appearance.

    Raises:
        InputError: when times and frames differ in number or times are not ascending.
    """
    if len(times_s) != len(boxes_per_frame):
        raise InputError(f"{len(times_s)} times for {len(boxes_per_frame)} frames", item="face tracks")
    if any(b < a for a, b in itertools.pairwise(times_s)):
        raise InputError("times are not ascending", item="face tracks", remedy="Give frames in the order of time.")
    tracks: list[_Open] = []
    for time_s, boxes in zip(times_s, boxes_per_frame, strict=True):
        alive = [t for t in tracks if time_s - t.boxes[-1][0] <= longest_gap_s]
        costs = sorted(
            (cost, t, b)
            for t, track in enumerate(alive)
            for b, box in enumerate(boxes)
            if (cost := _distance(track.boxes[-1][1], box, most_growth)) < farthest
        )
        taken: dict[int, int] = {}
        for _, t, b in costs:
            if t not in taken.values() and b not in taken:
                taken[b] = t
        for b, box in enumerate(boxes):
            if b in taken:
                alive[taken[b]].boxes.append((time_s, box))
            else:
                tracks.append(_Open(len(tracks), [(time_s, box)]))
    return [TrackedFaces(t.id, tuple(t.boxes)) for t in tracks]


def _distance(before: FaceBox, after: FaceBox, most_growth: float) -> float:
    """Distance of centres in mean face sizes, plus how unlike the sizes are; infinite beyond ``most_growth``."""
    size_before, size_after = max(before.width, before.height), max(after.width, after.height)
    if min(size_before, size_after) <= 0:
        return math.inf
    growth = max(size_before, size_after) / min(size_before, size_after)
    if growth > most_growth:
        return math.inf
    x = (before.left + before.right - after.left - after.right) / 2
    y = (before.top + before.bottom - after.top - after.bottom) / 2
    return math.hypot(x, y) / math.sqrt(size_before * size_after) + 0.25 * math.log(growth)

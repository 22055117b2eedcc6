"""From a clip to what a model reads and says: this package against the published way, in one run.

The published way looks for faces with MTCNN at full resolution on every sampled frame, one frame after the other, in
fp32. Both ways decode the same frames and make the same mel pieces, and are measured in turns; times are minima.

    python benchmarks/pipeline.py [clip ...] [--rounds 3] [--threads 1]

Printed per clip: seconds of either way and their ratio, and the share of the published way's faces that ours found with
an intersection over union of at least 0.8.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import maeum
from maeum.errors import MaeumError, MediaError
from maeum.media.audio import read_audio
from maeum.media.boxes import FaceBox, iou
from maeum.media.faces import FaceDetector, centre_crop, crop_face
from maeum.media.mtcnn_networks import load_networks
from maeum.media.mtcnn_reference import detect_reference
from maeum.media.speech import mel_pieces
from maeum.media.video import sample_frames

EVERY_S = 0.5
FOUND_IOU = 0.8
ROOT = Path(__file__).resolve().parents[1]

Detect = Callable[[Sequence[NDArray[np.uint8]]], list[list[FaceBox]]]


@dataclass
class Way:
    """One way through the pipeline: its detector, and what its last run took and found."""

    name: str
    detect: Detect
    predict: Callable[[NDArray[np.uint8], NDArray[np.float32] | None], object] | None
    seconds: dict[str, float] = field(default_factory=dict)
    boxes: list[list[FaceBox]] = field(default_factory=list)

    @property
    def total_s(self) -> float:
        """All stages."""
        return sum(self.seconds.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, help="recordings; default: the real videos beside the checkout")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way, in turns; the quickest counts")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, for both ways")
    parser.add_argument("--cpu-time", action="store_true", help="count processor time, on a machine that is shared")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    clips = arguments.clips or default_clips()
    if not clips:
        parser.error("no clips: give some")
    predict = predictor()
    print(f"faces{'' if predict is None else ', prediction'} every {EVERY_S} s, {arguments.threads} thread(s), "
          f"minima of {arguments.rounds} rounds of {'processor' if arguments.cpu_time else 'wall'} time")  # fmt: skip
    widths = {"frames": 7, "published s": 13, "ours s": 9, "ratio": 7, "detection": 11, "faces": 7, "found": 7}
    print(f"{'clip':24}" + "".join(f"{name:>{width}}" for name, width in widths.items()))
    totals, found_all, faces_all = np.zeros(2), 0, 0
    for clip in clips:
        ways = Way("published", published_detector(), predict), Way("ours", FaceDetector().detect, predict)
        best: dict[str, dict[str, float]] = {way.name: {} for way in ways}
        for _ in range(arguments.rounds):
            for way in ways:
                walk(clip, way, clock)
                for stage, seconds in way.seconds.items():
                    best[way.name][stage] = min(seconds, best[way.name].get(stage, np.inf))
        published_s, ours_s = (sum(best[way.name].values()) for way in ways)
        faces, found = recall(ways[0].boxes, ways[1].boxes)
        detection = best["published"]["faces"] / best["ours"]["faces"]
        print(f"{clip.name[:23]:24}{len(ways[0].boxes):7}{published_s:13.3f}{ours_s:9.3f}{published_s / ours_s:7.2f}"
              f"{detection:11.2f}{faces:7}{found:7}", flush=True)  # fmt: skip
        totals += published_s, ours_s
        faces_all, found_all = faces_all + faces, found_all + found
    share = f"{found_all / faces_all:.3f}" if faces_all else "-"
    ratio = totals[0] / totals[1]
    print(f"{'all':31}{totals[0]:13.3f}{totals[1]:9.3f}{ratio:7.2f}{'':11}{faces_all:7}{found_all:7}")
    print(f"x{ratio:.2f} faster, finding {share} of the published way's faces (IoU >= {FOUND_IOU})")
    return 0


def default_clips() -> list[Path]:
    """The real videos beside the checkout, where they are."""
    folder = ROOT.parent / "shared" / "data" / "media"
    return sorted(p for p in folder.iterdir() if p.suffix in {".mp4", ".mov", ".mpg"}) if folder.is_dir() else []


def walk(clip: Path, way: Way, clock: Callable[[], float]) -> None:
    """One run from the file to what the model says, stage by stage."""
    way.seconds.clear()
    start = clock()
    frames = [frame.rgb for frame in sample_frames(clip, every_s=EVERY_S)]
    way.seconds["decode"] = clock() - start

    start = clock()
    way.boxes = way.detect(frames)
    crops = [
        crop_face(rgb, max(boxes, key=lambda b: b.width * b.height)) if boxes else centre_crop(rgb)
        for rgb, boxes in zip(frames, way.boxes, strict=True)
    ]
    way.seconds["faces"] = clock() - start

    start = clock()
    try:
        wave = read_audio(clip).samples
    except MediaError:
        wave = None
    if wave is not None:
        mel_pieces(torch.from_numpy(wave))
    way.seconds["speech"] = clock() - start

    if way.predict is not None:
        start = clock()
        way.predict(np.stack(crops), wave)
        way.seconds["prediction"] = clock() - start


def published_detector() -> Detect:
    """MTCNN as published, at full resolution, frame by frame."""
    networks = load_networks()

    def detect(frames: Sequence[NDArray[np.uint8]]) -> list[list[FaceBox]]:
        faces = []
        for frame in frames:
            boxes, scores, _ = detect_reference(networks, frame)
            faces.append([FaceBox(*box, score) for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)])
        return faces

    return detect


def predictor() -> Callable[[NDArray[np.uint8], NDArray[np.float32] | None], object] | None:
    """The model that ships, for both ways alike; None, with a word about it, where it cannot be loaded."""
    try:
        recognizer = maeum.load()
    except MaeumError as error:
        print(f"prediction is left out: {error}", file=sys.stderr)
        return None

    def predict(crops: NDArray[np.uint8], wave: NDArray[np.float32] | None) -> object:
        if wave is None or not len(wave):
            return recognizer.predict(faces=list(crops))
        return recognizer.predict(faces=list(crops), audio=wave, sample_rate_hz=16_000)

    return predict


def recall(published: list[list[FaceBox]], ours: list[list[FaceBox]]) -> tuple[int, int]:
    """Faces of the published way, and how many of them ours found."""
    faces = found = 0
    for wanted, got in zip(published, ours, strict=True):
        overlaps = iou(np.array([b.edges for b in wanted]), np.array([b.edges for b in got]))
        faces += len(wanted)
        found += int((overlaps.max(1, initial=0.0) >= FOUND_IOU).sum())
    return faces, found


if __name__ == "__main__":
    sys.exit(main())

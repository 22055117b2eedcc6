"""From a clip to a prediction: this package against the published way, in one run.

The published way looks for faces with MTCNN at full resolution on every sampled frame, one frame after the other, and
runs FE2E at its published widths densely on the largest face of each frame and on all mel chunks; fp32, eager. Ours
reads frames ahead while it follows faces through the recording (`FaceDetector.detect_stream`), and runs the model that
ships; where it is not installed, one of its size with random weights. Both get the same frames and the same sound from
the same decoder, and leave text out.

    python benchmarks/pipeline.py [clip ...] [--rounds 3] [--threads 2] [--cpu-time]

Each way lives in a process of its own with the same number of threads; they take turns, and each stage's time is the
minimum over the rounds, after one run that is not counted. Printed per clip: seconds of either way and their ratio,
that of the picture alone (decoding and detection), and how many of the published way's faces ours found with an
intersection over union of at least 0.8; then the same by stage, of all clips.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import maeum
from maeum.errors import MaeumError, MediaError
from maeum.labels import EKMAN
from maeum.media.audio import read_audio
from maeum.media.boxes import FaceBox, iou
from maeum.media.faces import FaceDetector, centre_crop, crop_face
from maeum.media.mel import to_mel_chunks
from maeum.media.mtcnn.networks import load_networks
from maeum.media.mtcnn.reference import detect_reference
from maeum.media.parallel import read_ahead
from maeum.media.video import Frame, sample_frames
from maeum.models.fe2e import FE2E, BranchConfig, FE2EConfig, TransformerConfig
from maeum.types import Batch

EVERY_S = 0.5
FOUND_IOU = 0.8
ROOT = Path(__file__).resolve().parents[1]
STAGES = ("picture", "sound", "network")
#: The sizes of the model that ships.
SHIPPED = FE2EConfig(
    labels=len(EKMAN),
    dim=128,
    faces=BranchConfig(
        widths=(32, 64, 128, 256), stem_blocks=1, hidden=512, norm="each", grey=True, mirror=True, zooms=(0.92, 1.08),
        transformer=TransformerConfig(layers=1, heads=4, feedforward=512),
    ),
    speech=BranchConfig(
        widths=(24, 48, 96, 160), stem_blocks=0, hidden=128, norm="each", shrink=(2, 2), silence_db=35.0,
        transformer=TransformerConfig(layers=1, heads=4, feedforward=256, positions=False),
    ),
)  # fmt: skip

Pictures = list[NDArray[np.uint8]]
Watch = Callable[[Path], tuple[Pictures, list[list[FaceBox]]]]
Predict = Callable[[Pictures, NDArray[np.float32] | None], object]
Run = tuple[dict[str, float], list[list[FaceBox]]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, help="recordings; default: the real videos beside the checkout")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way, in turns; the quickest counts")
    parser.add_argument("--threads", type=int, default=2, help="processor threads, for both ways")
    parser.add_argument("--cpu-time", action="store_true", help="count processor time, on a machine that is shared")
    arguments = parser.parse_args()
    clips = arguments.clips or default_clips()
    if not clips:
        parser.error("no clips: give some")
    ways = [Worker(name, arguments.threads, arguments.cpu_time) for name in ("published", "ours")]
    print(f"clip to prediction, faces every {EVERY_S} s, {arguments.threads} thread(s), "
          f"minima of {arguments.rounds} rounds of {'processor' if arguments.cpu_time else 'wall'} time; "
          f"ours: {ways[1].model}")  # fmt: skip
    widths = {"frames": 7, "published s": 13, "ours s": 9, "ratio": 7, "picture": 9, "faces": 7, "found": 7}
    print(f"{'clip':24}" + "".join(f"{name:>{width}}" for name, width in widths.items()))
    totals = np.zeros((2, len(STAGES)))
    ratios, found_all, faces_all = [], 0, 0
    for number, clip in enumerate(clips):
        if number == 0:  # not counted
            for way in ways:
                way.walk(clip)
        best = np.full((2, len(STAGES)), np.inf)
        boxes: list[list[list[FaceBox]]] = [[], []]
        for _ in range(arguments.rounds):
            for i, way in enumerate(ways):
                seconds, boxes[i] = way.walk(clip)
                best[i] = np.minimum(best[i], [seconds[stage] for stage in STAGES])
        totals += best
        (published_s, ours_s), picture_s = best.sum(1), best[:, STAGES.index("picture")]
        faces, found = recall(*boxes)
        faces_all, found_all = faces_all + faces, found_all + found
        ratios.append(published_s / ours_s)
        print(f"{clip.name[:23]:24}{len(boxes[0]):7}{published_s:13.3f}{ours_s:9.3f}{ratios[-1]:7.2f}"
              f"{picture_s[0] / picture_s[1]:9.2f}{faces:7}{found:7}", flush=True)  # fmt: skip
    for way in ways:
        way.stop()
    for stage, (published_s, ours_s) in zip(STAGES, totals.T, strict=True):
        print(f"  {stage:29}{published_s:13.3f}{ours_s:9.3f}{published_s / max(ours_s, 1e-9):7.2f}")
    published_s, ours_s = totals.sum(1)
    total, mean = published_s / ours_s, float(np.exp(np.log(ratios).mean()))
    print(f"{'all':31}{published_s:13.3f}{ours_s:9.3f}{total:7.2f}{'':11}{faces_all:7}{found_all:7}")
    share = f"{found_all / faces_all:.1%}" if faces_all else "none"
    print(f"x{total:.2f} faster in all, x{mean:.2f} in the geometric mean of clips, "
          f"finding {share} of the published way's faces (IoU >= {FOUND_IOU})")  # fmt: skip
    return 0


def default_clips() -> list[Path]:
    """The real videos beside the checkout, where they are."""
    folder = ROOT.parent / "shared" / "data" / "media"
    return sorted(p for p in folder.iterdir() if p.suffix in {".mp4", ".mov", ".mpg"}) if folder.is_dir() else []


class Worker:
    """One way in its own process, so that neither profits from the other's memory and settings."""

    def __init__(self, name: str, threads: int, cpu_time: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=serve, args=(there, name, threads, cpu_time), daemon=True)
        self._process.start()
        self.model: str = self._connection.recv()

    def walk(self, clip: Path) -> Run:
        """Seconds by stage, and the faces of each frame."""
        self._connection.send(clip)
        answer = self._connection.recv()
        if isinstance(answer, BaseException):
            raise answer
        seconds, boxes = answer
        return seconds, boxes

    def stop(self) -> None:
        """End the process."""
        self._connection.send(None)
        self._process.join()


def serve(connection: Connection, name: str, threads: int, cpu_time: bool) -> None:
    """A worker's life: announce the model, then answer clips with runs."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    clock = time.process_time if cpu_time else time.perf_counter
    if name == "published":
        watch, (predict, model) = published_watch(), random_model(FE2EConfig(labels=len(EKMAN)))
    else:
        watch, (predict, model) = our_watch(), shipped_model()
    connection.send(model)
    while (clip := connection.recv()) is not None:
        try:
            connection.send(walk(clip, watch, predict, clock))
        except MaeumError as error:
            connection.send(error)


def walk(clip: Path, watch: Watch, predict: Predict, clock: Callable[[], float]) -> Run:
    """One run from the file to the prediction, stage by stage."""
    marks = [clock()]
    frames, boxes = watch(clip)
    crops = [
        crop_face(rgb, max(some, key=lambda b: b.width * b.height)) if some else centre_crop(rgb)
        for rgb, some in zip(frames, boxes, strict=True)
    ]
    marks.append(clock())
    try:
        wave = read_audio(clip).samples
    except MediaError:
        wave = None
    marks.append(clock())
    predict(crops, wave)
    marks.append(clock())
    return dict(zip(STAGES, np.diff(marks).tolist(), strict=True)), boxes


def published_watch() -> Watch:
    """MTCNN as published, at full resolution, frame by frame."""
    networks = load_networks()

    def watch(clip: Path) -> tuple[Pictures, list[list[FaceBox]]]:
        frames = [frame.rgb for frame in sample_frames(clip, every_s=EVERY_S)]
        faces = []
        for frame in frames:
            boxes, scores, _ = detect_reference(networks, frame)
            faces.append([FaceBox(*box, score) for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)])
        return frames, faces

    return watch


def our_watch() -> Watch:
    """The detector of this package, as `maeum analyse` uses it."""
    detector = FaceDetector()

    def watch(clip: Path) -> tuple[Pictures, list[list[FaceBox]]]:
        frames: Pictures = []

        def keep(frame: Frame) -> NDArray[np.uint8]:
            frames.append(frame.rgb)
            return frame.rgb

        with closing(read_ahead(sample_frames(clip, every_s=EVERY_S))) as early:
            faces = list(detector.detect_stream(map(keep, early)))
        return frames, faces

    return watch


def random_model(config: FE2EConfig) -> tuple[Predict, str]:
    """A network without training: its time is that of a trained one."""
    model = FE2E(config).eval()

    def predict(crops: Pictures, wave: NDArray[np.float32] | None) -> object:
        faces = torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).copy())[None]
        mel_chunks = None if wave is None or not len(wave) else to_mel_chunks(torch.from_numpy(wave))[None]
        batch = Batch(
            ids=("clip",),
            faces=faces,
            faces_mask=torch.ones(faces.shape[:2], dtype=torch.bool),
            mel_chunks=mel_chunks,
            mel_chunks_mask=None if mel_chunks is None else torch.ones(mel_chunks.shape[:2], dtype=torch.bool),
        )
        with torch.inference_mode():
            return model(batch).logits.softmax(-1)

    return predict, f"random weights, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters"


def shipped_model() -> tuple[Predict, str]:
    """The model that ships, through the public interface; else one of its size."""
    try:
        recognizer = maeum.load()
    except MaeumError:
        predict, what = random_model(SHIPPED)
        return predict, f"a model of the shipped one's size ({what})"

    def predict_shipped(crops: Pictures, wave: NDArray[np.float32] | None) -> object:
        if wave is None or not len(wave):
            return recognizer.predict(faces=crops)
        return recognizer.predict(faces=crops, audio=wave, sample_rate_hz=16_000)

    return predict_shipped, recognizer.card.name


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

"""What the embedded model makes of ordinary speech that expresses nothing much: it should be neutral, or not sure.

    python benchmarks/ordinary_speech.py [--files clip.mpg ...] [--model NAME|DIR]

Synthesised voices of flite (Debian package ``flite``) read plain sentences; ``--files`` adds neutral recordings of your
own. Each is answered from the voice alone and, where Whisper was fetched, with the words that are recognised.
Printed: what each gets, and the share that is neutral or not sure.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import maeum
from maeum.media.audio import read_audio
from maeum.models.weights import is_fetched
from maeum.types import Prediction

VOICES = ("awb", "kal", "kal16", "rms", "slt")
TEXTS = (
    "The train to the airport leaves at half past nine.",
    "Please put the blue folder on the second shelf.",
    "The report has twelve pages and two tables.",
    "We meet on Tuesday in room four.",
)


def synthesised(folder: Path) -> list[Path]:
    """Each voice reading each sentence; nothing where flite is not installed."""
    if shutil.which("flite") is None:
        print("flite is not installed: no synthesised voices")
        return []
    paths = []
    for voice in VOICES:
        for number, text in enumerate(TEXTS, start=1):
            path = folder / f"{voice}-{number}.wav"
            subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True, capture_output=True)
            paths.append(path)
    return paths


def shown(answer: Prediction) -> str:
    """``neutral 0.62``, or why there is no label."""
    return f"{answer.label} {answer.confidence:.2f}" if answer.label else str(answer.reason)


def main() -> None:
    """Run what the command line says."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=Path, nargs="*", default=[])
    options.add_argument("--model")
    given = options.parse_args()
    recognizer = maeum.load(given.model)
    asr = "whisper-base" if is_fetched("whisper-base") else "off"
    right: dict[str, list[bool]] = {"voice alone": [], "voice and words": []}
    with tempfile.TemporaryDirectory() as folder:
        for path in [*synthesised(Path(folder)), *given.files]:
            audio = read_audio(path)
            alone = recognizer.predict(audio=audio.samples, sample_rate_hz=audio.sample_rate_hz)
            answers = {"voice alone": [alone]}
            if asr != "off":
                timeline = recognizer.analyse(path, asr=asr)
                answers["voice and words"] = [segment.prediction for segment in timeline.segments]
            for source, found in answers.items():
                right[source] += [answer.label in (None, "neutral") for answer in found]
            print(
                f"{path.name}: " + "; ".join(f"{s}: {', '.join(map(shown, a))}" for s, a in answers.items()), flush=True
            )
    for source, found in right.items():
        if found:
            print(f"{source}: {sum(found)} of {len(found)} neutral or not sure, {sum(found) / len(found):.2f}")


if __name__ == "__main__":
    main()

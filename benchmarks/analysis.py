"""What an analysis costs: sound to words and emotions against recognition alone, and a video against its length.

    python benchmarks/analysis.py [--sound speech.wav] [--video clip.mp4] [--threads 2] [--rounds 3]

Sound: `Recognizer.analyse` with words against the same model in CTranslate2 (8 bit, greedy, windows of 30 s, as
faster-whisper reads them), with as many threads, in turn in this process; the ratio of the medians is printed. Video:
seconds of work a second of the recording, with words and without. Peak memory is that of a process of its own. Without
``--sound`` the demo's sound is repeated to a minute; CTranslate2 is compared where it is installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray

import maeum
from maeum.asr import speech_recognizer
from maeum.media.audio import read_audio
from maeum.media.info import probe
from maeum.models.encoders.whisper import log_mel
from maeum.models.weights import weights_folder

RATE = 16_000
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def repeated_demo(folder: Path, seconds: float) -> Path:
    """The demo's sound, again and again."""
    samples = read_audio(EXAMPLES / "demo.mp4").samples
    wave = np.tile(samples, -(-round(seconds * RATE) // len(samples)))[: round(seconds * RATE)]
    path = folder / "speech.wav"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def ctranslate2_recognizer(folder: Path, threads: int) -> Callable[[NDArray[np.float32]], str] | None:
    """Recognition by CTranslate2 in 8 bit; None where it is not installed."""
    try:
        import ctranslate2
    except ImportError:
        return None
    from tokenizers import Tokenizer

    source = weights_folder("whisper-base")
    for file in source.iterdir():
        (folder / file.name).symlink_to(file)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    known = tokenizer.get_vocab(with_added_tokens=True)
    names = {number: token for token, number in known.items()}
    (folder / "vocabulary.json").write_text(json.dumps([names.get(i, f"<|{i}|>") for i in range(51_865)]))
    model = ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=threads)
    prompt = [known[f"<|{token}|>"] for token in ("startoftranscript", "en", "transcribe", "notimestamps")]

    def recognize(samples: NDArray[np.float32]) -> str:
        texts = []
        for start in range(0, len(samples), 30 * RATE):
            part = samples[start : start + 30 * RATE]
            wave = torch.zeros(1, 30 * RATE)
            wave[0, : len(part)] = torch.from_numpy(part)
            mel, _ = log_mel(wave, torch.tensor([wave.shape[1]]), 80)
            features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel.numpy()))
            texts.append(tokenizer.decode(model.generate(features, [prompt], beam_size=1)[0].sequences_ids[0]))
        return " ".join(texts)

    return recognize


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_memory(path: Path, asr: str) -> float:
    """Peak memory of an analysis in a process of its own, in GB."""
    code = (
        "import sys, maeum, resource; maeum.load().analyse(sys.argv[1], asr=sys.argv[2]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path), asr], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Run what the command line says."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sound", type=Path)
    options.add_argument("--video", type=Path, default=EXAMPLES / "demo.mp4")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    model, listener = maeum.load(), speech_recognizer("whisper-base")
    with tempfile.TemporaryDirectory() as folder:
        sound = given.sound or repeated_demo(Path(folder), 60.0)
        samples = read_audio(sound).samples
        (Path(folder) / "ct2").mkdir()
        other = ctranslate2_recognizer(Path(folder) / "ct2", given.threads)
        works: dict[str, Callable[[], object]] = {
            "analysis of sound with words": lambda: model.analyse(sound, asr=listener, language="en"),
            "analysis of sound without words": lambda: model.analyse(sound, asr="off"),
            "analysis of video with words": lambda: model.analyse(given.video, asr=listener, language="en"),
            "analysis of video without words": lambda: model.analyse(given.video, asr="off"),
        }
        if other is not None:
            recognize = other
            works["recognition by CTranslate2, 8 bit"] = lambda: recognize(samples)
        for work in works.values():
            work()  # what is read or compiled once
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(given.rounds):
            for name, work in works.items():
                times[name].append(seconds_of(work))
        sound_s, video_s = len(samples) / RATE, probe(given.video).duration_s or 0.0
        for name, found in times.items():
            length_s = video_s if "video" in name else sound_s
            print(f"{name}: {statistics.median(found):.2f} s for {length_s:.1f} s, "
                  f"{statistics.median(found) / length_s:.3f} of real time")  # fmt: skip
        if other is not None:
            ratio = statistics.median(times["analysis of sound with words"]) / statistics.median(
                times["recognition by CTranslate2, 8 bit"]
            )
            print(f"sound to words and emotions: x{ratio:.2f} of recognition alone by CTranslate2")
        for path, asr in ((sound, "whisper-base"), (given.video, "whisper-base"), (given.video, "off")):
            print(f"peak memory, {path.name}, asr {asr}: {peak_memory(path, asr):.2f} GB")


if __name__ == "__main__":
    main()

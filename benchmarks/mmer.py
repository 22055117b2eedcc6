"""Training MMER at its published size, our way against the plain one, in one run.

    python benchmarks/mmer.py [--utterances 48] [--batch 8] [--threads 2] [--rounds 1] [--ends | --last 2] [--small]

Networks have the shapes of wav2vec2-base and RoBERTa-base with random weights; utterances are noise as long as those
of IEMOCAP (lognormal, 4.5 s on average, 0.6 to 20 s), with words and characters in proportion. They are groups of
``--batch`` neighbours by length in a pool of 32 batches, which training sorts together, the groups evenly spread: all
lengths are there, and a batch of like length is as much alike as in training. Plain: float32, eager attention,
batches of 2 in random order, the frozen parts in every step, AdamW parameter by parameter. Ours: bf16 where the
processor multiplies it, fused attention and AdamW, batches of like length, outputs of the frozen text encoder and of
the frozen convolutions kept, dropout in one pass over memory, no dropout of the speech encoder's attention weights,
without which processors have a fused attention (``attention_dropout: 0``).

Each way trains in a process of its own, with memory of its own, over the same utterances from the same weights, behind
a step that is not counted: the longest batch, in which optimizers make their state. Two ways take turns, ``--batch``
utterances each, so that what else the machine does slows both alike. Printed are how many times as quick each step is
as the one before it, the range of that over epochs (``--rounds``), and the mean loss of the first and the last third of
its first epoch; at the end all steps together against the plain way (``--ends``: that alone; ``--last``: only so many
steps, the last ones).
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from maeum.data.collate import Collator
from maeum.data.sampler import BucketSampler
from maeum.labels import LabelSet
from maeum.models.mmer import MMER, MMERConfig
from maeum.training.config import TrainConfig
from maeum.training.dropout import quicken_dropout
from maeum.training.loop import bf16_is_native, rest_frozen_parts
from maeum.training.losses.base import LossSetup
from maeum.training.objective import build_objective
from maeum.types import Batch, Clip

RATE = 16_000
#: Batches that training sorts by length together.
POOL = 32
CHARACTERS = ("", " ", "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
TASKS = TrainConfig(losses={"ctc": {"weight": 0.1}, "supervised-contrastive": {"weight": 0.1, "memory": 64}})


@dataclass(frozen=True)
class Way:
    """How utterances are trained on.

    pool: batches that are sorted by length together; 1 is random order. dropped: the attention's weights have dropout.
    one_pass: dropout by `maeum.training.dropout` instead of torch.
    """

    title: str
    batch: int = 2
    pool: int = 1
    attention: str = "eager"
    fused: bool = False
    kept_words: bool = False
    kept_sounds: bool = False
    dropped: bool = True
    one_pass: bool = False
    drawn_features: bool = False
    layers: int = 12
    bf16: bool = False


def utterances(count: int, alike: int) -> list[Clip]:
    """Noise as long as IEMOCAP's utterances, with words and a label: groups of ``alike`` neighbours by length."""
    rng = np.random.default_rng(0)
    groups, rest = divmod(count, alike)
    if rest or not 1 <= groups <= POOL:
        raise SystemExit(f"{count} utterances are not 1 to {POOL} groups of {alike}; choose a multiple of the batch")
    drawn = np.sort(np.clip(rng.lognormal(np.log(3.6), 0.65, POOL * alike), 0.6, 20.0))
    middles = (np.arange(groups) + 0.5) * len(drawn) / groups - alike / 2
    lengths = rng.permutation(np.concatenate([drawn[int(m) : int(m) + alike] for m in middles]))
    generator = torch.Generator().manual_seed(0)
    made = []
    for i, length in enumerate(lengths):
        words = " ".join("abcdefgh"[: 1 + (i + j) % 8] for j in range(max(1, round(2.7 * length))))
        wave = torch.randn(round(length * RATE), generator=generator) * 0.1
        made.append(Clip(str(i), wave=wave, text=words, spoken_text=words, target=torch.tensor(i % 4)))
    return made


def network(small: bool, layers: int = 12) -> MMER:
    """MMER at the published size, with random weights."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 768,
        "num_hidden_layers": layers,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    }
    if small:  # to see whether this runs
        sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 96}
    speech = {"model_type": "wav2vec2", **sizes, "num_conv_pos_embedding_groups": 16, "layerdrop": 0.0}
    text = {"model_type": "roberta", **sizes, "vocab_size": 50265, "max_position_embeddings": 514, "pad_token_id": 1}
    return MMER(
        MMERConfig.parse(
            {
                "labels": 4, "dim": sizes["hidden_size"], "feedforward": sizes["intermediate_size"],
                "project": sizes["hidden_size"], "characters": CHARACTERS,
                "speech": {"kind": "hub", "architecture": speech}, "text": {"kind": "hub", "architecture": text},
            }
        )
    )  # fmt: skip


def tokenize(texts: list[str]) -> list[list[int]]:
    return [[0, *(4 + sum(map(ord, word)) % 50_000 for word in text.split()), 2] for text in texts]


def encode_transcript(text: str) -> list[int]:
    return [CHARACTERS.index(letter) for letter in text.upper()]


def batches(way: Way, clips: Sequence[Clip], kept: dict[bytes, torch.Tensor]) -> Iterator[Batch]:
    """An epoch of batches."""
    lengths = [0.0 if c.wave is None else len(c.wave) for c in clips]

    def find(content: torch.Tensor) -> torch.Tensor:
        return kept[content.numpy().tobytes()]

    words, sounds = (find if on else None for on in (way.kept_words, way.kept_sounds))
    collate = Collator(tokenize, 1, encode_transcript=encode_transcript, vectors=words, sound_features=sounds)
    for indices in BucketSampler(lengths, way.batch, pool=way.pool).batches(0):
        yield collate([clips[i] for i in indices])


class Training:
    """A way of training, and the batches that it has still to see."""

    def __init__(self, way: Way, count: int, alike: int, small: bool) -> None:
        clips, model = utterances(count, alike), network(small, way.layers)
        kept = frozen(way, model, clips)
        self.model, self.way = model.train(), way
        rest_frozen_parts(model)
        model.encoders["speech"].model.set_attn_implementation(way.attention)
        model.encoders["text"].model.set_attn_implementation(way.attention)
        if way.one_pass:
            quicken_dropout(model)
        if not way.dropped:
            for layer in model.encoders["speech"].model.encoder.layers:
                layer.attention.dropout = 0.0
        self.learned = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.learned, lr=1e-5, fused=way.fused, foreach=False)
        self.objective = build_objective(
            TASKS, LossSetup(LabelSet(("anger", "happiness", "sadness", "neutral")), model)
        )
        self.batches = lambda: batches(way, clips, kept)
        torch.manual_seed(0)
        self.step(max(self.batches(), key=lambda batch: batch.wave.shape[-1] if batch.wave is not None else 0))
        self.endless = (batch for _ in itertools.count() for batch in self.batches())

    def step(self, batch: Batch) -> float:
        """A batch's loss."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision():
            loss, _ = self.objective(self.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learned, 1.0)
        self.optimizer.step()
        return float(loss.detach())

    def precision(self) -> AbstractContextManager[Any]:
        """In which networks compute."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.way.bf16)

    def train(self, count: int) -> tuple[float, float, list[float]]:
        """The next utterances, epoch behind epoch; seconds for all, by the clock and of processors; losses of each."""
        losses: list[float] = []
        start, cpu = time.perf_counter(), time.process_time()
        while len(losses) < count:
            batch = next(self.endless)
            losses += [self.step(batch)] * len(batch)
        return time.perf_counter() - start, time.process_time() - cpu, losses


def frames(samples: int) -> int:
    """Frames of wav2vec2's convolutions."""
    for kernel, stride in ((10, 5), *((3, 2),) * 4, *((2, 2),) * 2):
        samples = (samples - kernel) // stride + 1
    return samples


def frozen(way: Way, model: MMER, clips: Sequence[Clip]) -> dict[bytes, torch.Tensor]:
    """Cached outputs of the frozen encoders, by content; drawn at random where only their shapes matter."""
    kept = {}
    if way.drawn_features:
        width = model.config.dim
        kept = {c.wave.numpy().tobytes(): torch.randn(frames(len(c.wave)), 512) for c in clips if c.wave is not None}
        rows = [row for row in Collator(tokenize).tokens(clips) if row is not None]
        return kept | {row.numpy().tobytes(): torch.randn(len(row), width) for row in rows}
    if way.kept_sounds:
        convolve = model.encoders["speech"].frozen_features
        kept = {c.wave.numpy().tobytes(): convolve(c.wave) for c in clips if c.wave is not None}
    if way.kept_words:
        encoder = model.encoders["text"].eval()
        with torch.no_grad():
            for row in (row for row in Collator(tokenize).tokens(clips) if row is not None):
                everything = torch.ones(1, len(row), dtype=torch.bool)
                kept[row.numpy().tobytes()] = encoder.sequence(row.unsqueeze(0), everything)[0]
    return kept


def work(way: Way, count: int, alike: int, small: bool, threads: int, requests: Connection) -> None:
    """Train so many utterances as often as requested; what a process of its own does."""
    torch.set_num_threads(threads)
    training = Training(way, count, alike, small)
    requests.send(None)
    while some := requests.recv():
        requests.send(training.train(some))


class Worker:
    """A way of training in a process of its own, with memory of its own. seconds: of each turn."""

    def __init__(self, way: Way, arguments: argparse.Namespace) -> None:
        self.way, self.arguments = way, arguments
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.losses: list[float] = []
        processes = multiprocessing.get_context("spawn")
        self.connection, theirs = processes.Pipe()
        given = (arguments.utterances, arguments.batch, arguments.small, arguments.threads, theirs)
        self.process = processes.Process(target=work, args=(way, *given), daemon=True)
        self.process.start()
        theirs.close()
        self.connection.recv()

    def train(self) -> None:
        """A turn."""
        self.connection.send(self.arguments.batch)
        seconds, cpu_seconds, losses = self.connection.recv()
        self.seconds.append(seconds)
        self.cpu_seconds.append(cpu_seconds)
        self.losses += losses

    def say(self) -> str:
        """How it went since it was started: loss in the first and the last third of its first epoch."""
        first = self.losses[: self.arguments.utterances]
        third = max(1, len(first) // 3)
        ends = statistics.fmean(first[:third]), statistics.fmean(first[-third:])
        each = sum(self.seconds) / len(self.losses)
        return f"        {each:.2f} s an utterance, loss {ends[0]:.3f} then {ends[1]:.3f}: {self.way.title}"

    def end(self) -> None:
        """Give its memory back."""
        self.connection.send(0)
        self.process.join()


def compare(old: Worker, new: Worker) -> float:
    """How many times as quick ``new`` is, over the same utterances in turns of ``--batch``."""
    each = old.arguments.utterances // old.arguments.batch
    turns = each * old.arguments.rounds
    for i in range(turns):
        for worker in (old, new) if i % 2 == 0 else (new, old):
            worker.train()
    then, now = old.seconds[-turns:], new.seconds[-turns:]
    rounds = [sum(then[i : i + each]) / sum(now[i : i + each]) for i in range(0, turns, each)]
    spread = f" ({min(rounds):.2f} to {max(rounds):.2f} in {len(rounds)} epochs)" if len(rounds) > 1 else ""
    ratio = sum(then) / sum(now)
    print(f"x{ratio:5.2f}{spread}  {new.way.title}")
    print(f"{old.say()}\n{new.say()}", flush=True)
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=48)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--ends", action="store_true", help="the plain way and the last one alone")
    some.add_argument("--last", type=int, help="so many of the last steps alone")
    parser.add_argument("--small", action="store_true", help="a small network, to see whether this runs")
    arguments = parser.parse_args()
    if arguments.batch % 2:
        parser.error("--batch has to be even: the plain way trains two utterances at a time")
    native = bf16_is_native(torch.device("cpu"))
    plain = Way("plain: fp32, eager, batch 2, random order")
    steps: list[tuple[str, dict[str, Any]]] = [
        ("fused attention and AdamW", {"attention": "sdpa", "fused": True}),
        ("and the words' vectors kept", {"kept_words": True}),
        ("and what the convolutions hear kept", {"kept_sounds": True}),
        ("and no dropout of the attention's weights", {"dropped": False}),
        ("and dropout in one pass", {"one_pass": True}),
        ("and batches of like length", {"pool": POOL}),
        (f"and batches of {arguments.batch}", {"batch": arguments.batch}),
        *([("and bf16", {"bf16": True})] if native else []),
    ]
    ways = [plain]
    for title, changes in steps:
        ways.append(replace(ways[-1], title=title, **changes))
    best = replace(ways[-1], title="ours: all of them")
    setting = f"{arguments.utterances} utterances, {arguments.threads} threads, torch {torch.__version__}"
    setting += f", bf16 native: {native}"
    first = max(0, len(ways) - 1 - arguments.last) if arguments.last else 0
    total, old = 1.0, Worker(ways[first], arguments)
    if not arguments.ends:
        print(f"each step against the one before; {setting}")
        for way in ways[first + 1 :]:
            new = Worker(way, arguments)
            total *= compare(old, new)
            old.end()
            old = new
        print(f"x{total:5.2f}  all steps multiplied\n")
        old.end()
        if first:
            return 0
        old = Worker(plain, arguments)
    print(f"all steps against the plain way; {setting}")
    new = Worker(best, arguments)
    compare(old, new)
    old.end()
    new.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Training MMER at its published size, our way against the plain one, in one run.

    python benchmarks/mmer.py [--utterances 48] [--batch 8] [--threads 2] [--rounds 1] [--small]

Networks have the shapes of wav2vec2-base and RoBERTa-base with random weights; utterances are noise as long as those of
IEMOCAP (lognormal, 4.5 s on average, 0.6 to 20 s), with words and characters in proportion. Plain: float32, eager
attention, batches of 2 in random order, the frozen text encoder in every step, AdamW parameter by parameter. Ours: bf16
where the processor multiplies it, fused attention and AdamW, batches of like length, outputs of the text encoder kept.

Each way trains once over the same utterances from the same weights, in turns with the others. Printed are seconds an
utterance (the least of the rounds), how many times as quick as the plain way each further step makes it, and the mean
loss of the first and the last third of the utterances.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from maeum.data.collate import Collator
from maeum.data.sampler import BucketSampler
from maeum.models.mmer import MMER, MMERConfig
from maeum.training.config import TrainConfig
from maeum.training.loop import bf16_is_native, rest_frozen_parts
from maeum.training.objective import Objective
from maeum.types import Batch, Clip

RATE = 16_000
CHARACTERS = ("", " ", "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
TASKS = TrainConfig(loss="cross-entropy", ctc=0.1, supervised_contrastive=0.1, memory=64)


@dataclass(frozen=True)
class Way:
    """How utterances are trained on. pool: batches that are sorted by length together; 1 is random order."""

    title: str
    batch: int
    pool: int
    attention: str
    fused: bool
    kept_words: bool
    bf16: bool


def utterances(count: int) -> list[Clip]:
    """Noise as long as IEMOCAP's utterances, with words and a label."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(3.6), 0.65, count), 0.6, 20.0)
    generator = torch.Generator().manual_seed(0)
    made = []
    for i, length in enumerate(lengths):
        words = " ".join("abcdefgh"[: 1 + (i + j) % 8] for j in range(max(1, round(2.7 * length))))
        wave = torch.randn(round(length * RATE), generator=generator) * 0.1
        made.append(Clip(str(i), wave=wave, text=words, spoken=words, target=torch.tensor(i % 4)))
    return made


def network(small: bool) -> MMER:
    """MMER at the published size, with random weights."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
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


def spell(text: str) -> list[int]:
    return [CHARACTERS.index(letter) for letter in text.upper()]


def batches(way: Way, clips: Sequence[Clip], kept: dict[bytes, torch.Tensor]) -> Iterator[Batch]:
    """An epoch of batches."""
    lengths = [0.0 if c.wave is None else len(c.wave) for c in clips]
    find = (lambda row: kept[row.numpy().tobytes()]) if way.kept_words else None
    collate = Collator(tokenize, 1, spell=spell, vectors=find)
    for indices in BucketSampler(lengths, way.batch, pool=way.pool).batches(0):
        yield collate([clips[i] for i in indices])


def train(way: Way, model: MMER, clips: Sequence[Clip], kept: dict[bytes, torch.Tensor]) -> tuple[float, list[float]]:
    """An epoch over the utterances; seconds an utterance, and the loss of each."""
    model = copy.deepcopy(model).train()
    rest_frozen_parts(model)
    model.encoders["speech"].model.set_attn_implementation(way.attention)
    model.encoders["text"].model.set_attn_implementation(way.attention)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-5, fused=way.fused, foreach=False)
    objective = Objective(TASKS)
    losses: list[float] = []
    torch.manual_seed(0)
    start = time.perf_counter()
    for batch in batches(way, clips, kept):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=way.bf16):
            loss, _ = objective(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        losses += [float(loss.detach())] * len(batch)
    return (time.perf_counter() - start) / len(clips), losses


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=48)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="a small network, to see whether this runs")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clips, model = utterances(arguments.utterances), network(arguments.small)
    rows = [row for row in Collator(tokenize).tokens(clips) if row is not None]
    encoder = model.encoders["text"].eval()
    kept: dict[bytes, torch.Tensor] = {}
    with torch.inference_mode():
        for row in rows:
            everything = torch.ones(1, len(row), dtype=torch.bool)
            kept[row.numpy().tobytes()] = encoder.sequence(row.unsqueeze(0), everything)[0].clone()
    native = bf16_is_native(torch.device("cpu"))
    size = arguments.batch
    ways = [
        Way("plain: fp32, eager, batch 2, random order", 2, 1, "eager", False, False, False),
        Way("fused attention and AdamW", 2, 1, "sdpa", True, False, False),
        Way("and the words' vectors kept", 2, 1, "sdpa", True, True, False),
        Way("and batches of like length", 2, 50, "sdpa", True, True, False),
        Way(f"and batches of {size}", size, 50, "sdpa", True, True, False),
    ]
    if native:
        ways.append(Way("and bf16", size, 50, "sdpa", True, True, True))
    best = [float("inf")] * len(ways)
    losses: list[list[float]] = [[] for _ in ways]
    for _ in range(arguments.rounds):
        for i, way in enumerate(ways):
            seconds, losses[i] = train(way, model, clips, kept)
            best[i] = min(best[i], seconds)
            print(f"{way.title}: {seconds:.2f} s an utterance", flush=True)
    print(f"\n{len(clips)} utterances, {arguments.threads} threads, torch {torch.__version__}, bf16 native: {native}")
    third = len(clips) // 3
    for way, seconds, lost in zip(ways, best, losses, strict=True):
        ends = [statistics.fmean(lost[:third]), statistics.fmean(lost[-third:])]
        print(f"x{best[0] / seconds:5.2f}  {way.title:45}  loss {ends[0]:.3f} then {ends[1]:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

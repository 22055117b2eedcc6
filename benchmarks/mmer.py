"""Training MMER at its published size, our way against the plain one, in one run.

    python benchmarks/mmer.py [--utterances 48] [--batch 8] [--threads 2] [--rounds 1] [--ends] [--small]

Networks have the shapes of wav2vec2-base and RoBERTa-base with random weights; utterances are noise as long as those
of IEMOCAP (lognormal, 4.5 s on average, 0.6 to 20 s), with words and characters in proportion. They are groups of
``--batch`` neighbours by length in a pool of 32 batches, which training sorts together, the groups evenly spread: all
lengths are there, and a batch of like length is as much alike as in training. Plain: float32, eager attention,
batches of 2 in random order, the frozen parts in every step, AdamW parameter by parameter. Ours: bf16 where the
processor multiplies it, fused attention and AdamW, batches of like length, outputs of the frozen text encoder and of
the frozen convolutions kept, masks of dropout drawn 64 bits at a time, memory of large tensors kept for the next
step, and no dropout of the speech encoder's attention weights, without which processors have a fused attention
(``attention_dropout: 0``).

Each way trains once over the same utterances from the same weights, in turns with the others, behind a step that is not
counted, in which optimizers make their state. Printed are seconds an utterance (the least of the rounds), how many
times as quick as the plain way each further step makes it, and the mean loss of the first and the last third of the
utterances.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from maeum.data.collate import Collator
from maeum.data.sampler import BucketSampler
from maeum.models.mmer import MMER, MMERConfig
from maeum.training.config import TrainConfig
from maeum.training.dropout import quicken_dropout
from maeum.training.loop import bf16_is_native, rest_frozen_parts
from maeum.training.memory import keep_memory
from maeum.training.objective import Objective
from maeum.types import Batch, Clip

RATE = 16_000
#: Batches that training sorts by length together.
POOL = 32
CHARACTERS = ("", " ", "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
TASKS = TrainConfig(loss="cross-entropy", ctc=0.1, supervised_contrastive=0.1, memory=64)


@dataclass(frozen=True)
class Way:
    """How utterances are trained on.

    pool: batches that are sorted by length together; 1 is random order. dropped: the attention's weights have dropout.
    """

    title: str
    batch: int = 2
    pool: int = 1
    attention: str = "eager"
    fused: bool = False
    kept_words: bool = False
    kept_sounds: bool = False
    dropped: bool = True
    quick: bool = False
    memory: bool = False
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

    def find(content: torch.Tensor) -> torch.Tensor:
        return kept[content.numpy().tobytes()]

    words, sounds = (find if on else None for on in (way.kept_words, way.kept_sounds))
    collate = Collator(tokenize, 1, spell=spell, vectors=words, heard=sounds)
    for indices in BucketSampler(lengths, way.batch, pool=way.pool).batches(0):
        yield collate([clips[i] for i in indices])


def give_memory_back() -> None:
    """What glibc does by itself once it has seen large blocks: those above 32 MB go back to the system at once."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 32 << 20)
        mallopt(-1, 64 << 20)


def train(way: Way, model: MMER, clips: Sequence[Clip], kept: dict[bytes, torch.Tensor]) -> tuple[float, list[float]]:
    """An epoch over the utterances; seconds an utterance, and the loss of each."""
    keep_memory() if way.memory else give_memory_back()
    model = copy.deepcopy(model).train()
    rest_frozen_parts(model)
    model.encoders["speech"].model.set_attn_implementation(way.attention)
    model.encoders["text"].model.set_attn_implementation(way.attention)
    if way.quick:
        quicken_dropout(model)
    if not way.dropped:
        for layer in model.encoders["speech"].model.encoder.layers:
            layer.attention.dropout = 0.0
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-5, fused=way.fused, foreach=False)
    objective = Objective(TASKS)
    losses: list[float] = []
    torch.manual_seed(0)
    first = next(batches(way, clips, kept))
    start = 0.0
    for batch in (first, *batches(way, clips, kept)):
        if losses and not start:
            start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=way.bf16):
            loss, _ = objective(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        losses += [float(loss.detach())] * len(batch)
    return (time.perf_counter() - start) / len(clips), losses[len(first) :]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=48)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ends", action="store_true", help="the plain way and the last one alone")
    parser.add_argument("--small", action="store_true", help="a small network, to see whether this runs")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clips, model = utterances(arguments.utterances, arguments.batch), network(arguments.small)
    rows = [row for row in Collator(tokenize).tokens(clips) if row is not None]
    encoder, speech = model.encoders["text"].eval(), model.encoders["speech"]
    kept = {c.wave.numpy().tobytes(): speech.hear(c.wave).clone() for c in clips if c.wave is not None}
    with torch.inference_mode():
        for row in rows:
            everything = torch.ones(1, len(row), dtype=torch.bool)
            kept[row.numpy().tobytes()] = encoder.sequence(row.unsqueeze(0), everything)[0].clone()
    native = bf16_is_native(torch.device("cpu"))
    plain = Way("plain: fp32, eager, batch 2, random order")
    steps: list[tuple[str, dict[str, Any]]] = [
        ("fused attention and AdamW", {"attention": "sdpa", "fused": True}),
        ("and the words' vectors kept", {"kept_words": True}),
        ("and what the convolutions hear kept", {"kept_sounds": True}),
        ("and no dropout of the attention's weights", {"dropped": False}),
        ("and masks of dropout drawn 64 bits at a time", {"quick": True}),
        ("and memory kept for the next step", {"memory": True}),
        ("and batches of like length", {"pool": POOL}),
        (f"and batches of {arguments.batch}", {"batch": arguments.batch}),
        *([("and bf16", {"bf16": True})] if native else []),
    ]
    ways = [plain]
    for title, changes in steps:
        ways.append(replace(ways[-1], title=title, **changes))
    if arguments.ends:
        ways = [ways[0], replace(ways[-1], title="ours: all that is named above")]
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
        print(f"x{best[0] / seconds:5.2f}  {way.title:48}  loss {ends[0]:.3f} then {ends[1]:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

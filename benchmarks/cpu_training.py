"""What each measure for quick training on processors gives: a training step of MMER with it and without, in turns.

    python benchmarks/cpu_training.py [--measures dropout,convolution] [--precision fp32] [--threads 2] [--small]

The networks and utterances are those of ``mmer.py``: wav2vec2-base and RoBERTa-base shapes with random weights, five
batches of 8 utterances that are as long as IEMOCAP's, from short to long. Frozen outputs are cached and all measures
but the one under test are on in both ways. Each way trains in a process of its own over the same batches from the same
weights; in a turn both take one batch, the order changes from turn to turn. Printed is seconds without / seconds with:
the median over turns, and the lowest and highest. A measure that stays below 1.10 is not worth its lines.
"""

from __future__ import annotations

import argparse
import platform
import re
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmer import POOL, Way, Worker

#: Measure -> what a way with it and one without it have; see `mmer.Way`.
MEASURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dropout": ({"dropout": "kernel"}, {"dropout": "torch"}),
    "dropout-kernel": ({"dropout": "kernel"}, {"dropout": "64-bit draws"}),
    "convolution": ({"fourier": True}, {"fourier": False}),
    "memory": ({"memory": True}, {"memory": False}),
    "replicas": ({"parallel": 2}, {"parallel": 1}),
}


def processor() -> str:
    """The processor's name, family, model and its widest units."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor()
    text = path.read_text(encoding="utf-8", errors="replace")
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text, re.MULTILINE))
    units = [unit for unit in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if unit in fields.get("flags", "").split()]
    return f"{fields.get('model name')} (family {fields.get('cpu family')}, model {fields.get('model')}; {' '.join(units)})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measures", default=",".join(MEASURES), help="which, separated by commas")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a small network, to see whether this runs")
    arguments = parser.parse_args()
    arguments.batch = 8
    arguments.utterances = arguments.batch * 5
    base = Way(
        "all", batch=arguments.batch, pool=POOL, attention="sdpa", fused=True, kept_words=True, kept_sounds=True,
        dropped=False, dropout="kernel", fourier=True, memory=False, bf16=arguments.precision == "bf16",
    )  # fmt: skip
    print(f"{processor()}, {arguments.threads} threads, torch {torch.__version__}, {arguments.precision}", flush=True)
    for name in arguments.measures.split(","):
        with_it, without = (Worker(replace(base, title=name, **changes), arguments) for changes in MEASURES[name])
        for turn in range(arguments.turns):
            for worker in (with_it, without) if turn % 2 == 0 else (without, with_it):
                worker.train()
        ratios = [slow / quick for slow, quick in zip(without.seconds, with_it.seconds, strict=True)]
        steps = ", ".join(f"{slow:.2f}/{quick:.2f}" for slow, quick in zip(without.seconds, with_it.seconds, strict=True))
        print(
            f"x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} turns) {name}"
            f"\n        seconds a step, without/with: {steps}",
            flush=True,
        )
        with_it.end()
        without.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())

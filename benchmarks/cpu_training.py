"""What each measure for quick training on processors gives: a training step of MMER with it and without, in turns.

    python benchmarks/cpu_training.py [--measures dropout] [--precision fp32] [--threads 2]
        [--batch 8] [--layers 12] [--small]

The networks and utterances are those of ``mmer.py``: wav2vec2-base and RoBERTa-base shapes with random weights, five
batches of utterances that are as long as IEMOCAP's, from short to long. Outputs of the frozen encoders are cached
(drawn at random here), and what training always does is on in both ways. Each way trains in a process of its own over
the same batches from the same weights; in a turn both take one batch, the order changes from turn to turn. Printed is
seconds without / seconds with: the median over turns, and the lowest and highest, by the clock and of the processors
(which other programs disturb less). A measure that stays below 1.10 is not worth its lines.
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
    "dropout": ({"one_pass": True}, {"one_pass": False}),
}


def processor() -> str:
    """The processor's name, family, model and its widest units."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor()
    text = path.read_text(encoding="utf-8", errors="replace")
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text, re.MULTILINE))
    units = [unit for unit in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if unit in fields.get("flags", "").split()]
    kind = f"family {fields.get('cpu family')}, model {fields.get('model')}"
    return f"{fields.get('model name')} ({kind}; {' '.join(units)})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measures", default=",".join(MEASURES), help="which, separated by commas")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--layers", type=int, default=12, help="of either encoder")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a small network, to see whether this runs")
    arguments = parser.parse_args()
    arguments.utterances = arguments.batch * 5
    base = Way(
        "all", batch=arguments.batch, pool=POOL, attention="sdpa", fused=True, kept_words=True, kept_sounds=True,
        drawn_features=True, dropped=False, one_pass=True, layers=arguments.layers, bf16=arguments.precision == "bf16",
    )  # fmt: skip
    print(f"{processor()}, {arguments.threads} threads, torch {torch.__version__}, {arguments.precision}", flush=True)
    for name in arguments.measures.split(","):
        with_it, without = (Worker(replace(base, title=name, **changes), arguments) for changes in MEASURES[name])
        for turn in range(arguments.turns):
            for worker in (with_it, without) if turn % 2 == 0 else (without, with_it):
                worker.train()
        print(name)
        for clock in ("seconds", "cpu_seconds"):
            pairs = list(zip(getattr(without, clock), getattr(with_it, clock), strict=True))
            ratios = [slow / quick for slow, quick in pairs]
            steps = ", ".join(f"{slow:.2f}/{quick:.2f}" for slow, quick in pairs)
            spread = f"x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(
                f"    {spread} {clock.replace('_', ' ')} a step: {steps}",
                flush=True,
            )
        with_it.end()
        without.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())

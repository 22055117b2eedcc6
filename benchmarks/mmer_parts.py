"""What the parts of a training step of MMER cost on this processor: beside torch's own, and of the whole.

    python benchmarks/mmer_parts.py [--threads 2] [--small]

Dropout at the sizes of 8 utterances of 8.4 s (wav2vec2-base), the least of several calls that take turns; and the
shares of a step of one part under torch's profiler, with the rate of its matrix products.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from mmer import POOL, Training, Way
from torch.profiler import ProfilerActivity, profile

from maeum.training.dropout import Dropout

STEPS = 422
#: What torch calls them.
PRODUCTS, ATTENTION = ("aten::mm", "aten::addmm", "aten::bmm"), "scaled_dot_product"


def least(ways: Mapping[str, Callable[[], object]], turns: int = 6) -> dict[str, float]:
    """Seconds of a call of each."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(turns):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def say(what: str, seconds: Mapping[str, float]) -> None:
    first, *others = seconds.items()
    ratios = ", ".join(f"{value / first[1]:.2f} times that: {name}" for name, value in others)
    print(f"{what}: {1e3 * first[1]:.0f} ms {first[0]}; {ratios}", flush=True)


def dropouts(width: int) -> dict[str, float]:
    values, layer = torch.randn(8, STEPS, width), Dropout(0.1)
    return least({"in one pass": lambda: layer(values), "torch's": lambda: F.dropout(values, 0.1)})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="small sizes, to see whether this runs")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    way = replace(
        Way("ours", batch=8, pool=POOL, attention="sdpa", fused=True),
        kept_words=True, kept_sounds=True, dropped=False, one_pass=True,
    )  # fmt: skip
    training = Training(way, 16, 8, arguments.small)
    batches = list(training.batches())
    width = 48 if arguments.small else 768
    say("dropout", dropouts(4 * width))
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiled:
        for batch in batches:
            training.step(batch)
    rows = profiled.key_averages()
    total = sum(row.self_cpu_time_total for row in rows)
    products = [row for row in rows if row.key in PRODUCTS]
    share = sum(row.self_cpu_time_total for row in products) / total
    rate = sum(row.flops for row in products) / sum(row.self_cpu_time_total for row in products) / 1e3
    attention = sum(row.self_cpu_time_total for row in rows if ATTENTION in row.key) / total
    print(f"of a step: matrix products {share:.0%} ({rate:.0f} billion operations a second), attention {attention:.0%}")
    side = torch.randn(2048, 2048)
    quiet = least({"": lambda: side @ side}, turns=10)[""]
    print(f"a product of 2048 x 2048 alone: {2 * 2048**3 / quiet / 1e9:.0f} billion operations a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""An epoch of training that reads a store against one that reads the same tensors from memory, in one run.

    python benchmarks/reading.py STORE [--part train] [--items 512] [--batch 16] [--rounds 3]

Both make the same batches and take the same steps of FE2E at the shipped size, on one thread, as `maeum train` feeds
them. Wall clock, minima over rounds, turn by turn. "cold": before each pass the system is told to forget the store's
files, so that they come from the disk. Printed: seconds of each, memory / store (the goal is 0.9), and what reading
and collating alone cost.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from pipeline import SHIPPED
from torch.nn import functional
from torch.utils.data import Subset

from maeum.data.collate import Collator
from maeum.data.dataset import StoreDataset
from maeum.data.feed import Feed
from maeum.data.sampler import BucketSampler
from maeum.models.fe2e import FE2E
from maeum.types import Clip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="a prepared corpus with faces or speech")
    parser.add_argument("--part", default="train")
    parser.add_argument("--items", type=int, default=512, help="of the part, from its start")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    store = StoreDataset(arguments.store, arguments.part, None, ("faces", "speech"), labelled=True)
    items = min(arguments.items, len(store))
    cost = [n.frames + n.mel_chunks for n in store.lengths[:items]]
    memory = [store[i] for i in range(items)]
    files = sorted(Path(arguments.store).rglob("*.tar"))
    sources: dict[str, tuple[Sequence[Clip] | Subset[Clip], bool]] = {
        "memory": (memory, False),
        "store": (Subset(store, range(items)), False),
        "store, cold": (Subset(store, range(items)), True),
    }
    print(f"{items} items of {arguments.store.name} {arguments.part}, wall clock on one thread")
    for what, learns in (("reading and collating", False), ("an epoch of training", True)):
        best = dict.fromkeys(sources, float("inf"))
        for _ in range(arguments.rounds):
            for name, (clips, cold) in sources.items():
                if cold:
                    forget(files)
                best[name] = min(best[name], epoch(clips, cost, arguments.batch, learns))
        shown = "   ".join(f"{name} {seconds:7.3f} s" for name, seconds in best.items())
        ratios = ", ".join(f"memory / {name} {best['memory'] / best[name]:.2f}" for name in best if name != "memory")
        print(f"{what:24} {shown}   {ratios}")
    return 0


def forget(files: Sequence[Path]) -> None:
    """Drop files from the system's cache (Linux; nothing elsewhere)."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def epoch(clips: Sequence[Clip] | Subset[Clip], cost: Sequence[float], batch_size: int, learns: bool) -> float:
    """Seconds of one pass."""
    torch.manual_seed(0)
    model = FE2E(SHIPPED).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    feed = Feed(clips, BucketSampler(cost, batch_size), Collator(None, 0, 64, 64, 64))  # type: ignore[arg-type]
    start = time.perf_counter()
    for batch in feed.batches(0):
        if learns:
            loss = functional.cross_entropy(model(batch).logits, batch.target.long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())

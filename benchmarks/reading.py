"""An epoch of training that reads a store against one that reads the same tensors from memory, in one run.

    python benchmarks/reading.py STORE [--part train] [--items 512] [--batch 16] [--rounds 3]

Both make the same batches and take the same steps of FE2E at the shipped size; processor time on one thread,
minima over rounds. Printed: seconds of either, their ratio (the goal is 0.9: memory / store), and what reading
and collating alone cost.
"""

from __future__ import annotations

import argparse
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
    cost = [n.frames + n.pieces for n in store.lengths[:items]]
    sources = {"store": Subset(store, range(items)), "memory": [store[i] for i in range(items)]}
    times = {
        what: {name: min(epoch(source, cost, arguments.batch, learns) for _ in range(arguments.rounds))
               for name, source in sources.items()}
        for what, learns in (("reading and collating", False), ("an epoch of training", True))
    }  # fmt: skip
    print(f"{items} items of {arguments.store.name} {arguments.part}, processor time on one thread")
    for what, seconds in times.items():
        print(f"{what:24} store {seconds['store']:8.3f} s   memory {seconds['memory']:8.3f} s   "
              f"memory / store {seconds['memory'] / seconds['store']:.2f}")  # fmt: skip
    return 0


def epoch(clips: Sequence[Clip] | Subset[Clip], cost: Sequence[float], batch_size: int, learns: bool) -> float:
    """Processor seconds of one pass."""
    torch.manual_seed(0)
    model = FE2E(SHIPPED).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    collate = Collator(None, 0, 64, 64, 64)
    start = time.process_time()
    for indices in BucketSampler(cost, batch_size).batches(0):
        batch = collate([clips[i] for i in indices])
        if learns:
            loss = functional.cross_entropy(model(batch).logits, batch.target.long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.process_time() - start


if __name__ == "__main__":
    sys.exit(main())

"""Index, split and check a large made-up corpus; print time and peak memory.

python benchmarks/splits.py --utterances 100000
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from maeum.corpora.overlaps import Member
from maeum.corpora.splits import LeaveOneOutSplit, ListsSplit, OfficialSplit, RandomSplit
from maeum.data.shards import StoreItem, digest
from maeum.data.store import Store
from maeum.data.store_writer import Origin, StoreWriter, write_shard
from maeum.labels import EKMAN
from maeum.reports.splits import report_split
from maeum.types import Utterance

_PER_SHARD = 4096


def utterances(count: int) -> Iterator[Utterance]:
    """Twenty utterances a dialogue of two of its session's ten speakers; 50 dialogues a session."""
    for n in range(count):
        dialogue = n // 20
        session = dialogue // 50
        speaker = session * 10 + (dialogue * 2 + n % 2) % 10
        yield Utterance(
            id=f"u{n:07d}",
            dialogue=f"d{dialogue}",
            speaker=f"s{speaker}",
            session=f"S{session:04d}",
            text=f"words {n}",
            label=EKMAN.names[n % len(EKMAN)],
            part=("train", "train", "train", "dev", "test")[session % 5],
        )


def write(folder: Path, count: int) -> None:
    """Make its store, of words alone."""
    everything = list(utterances(count))
    with StoreWriter(folder, {"corpus": "synthetic", "count": count}) as writer:
        shards = []
        for first in range(0, count, _PER_SHARD):
            items = everything[first : first + _PER_SHARD]
            path = writer.shard_path([u.id for u in items])
            write_shard(path, (StoreItem(u, content=digest(u.id)) for u in items))
            shards.append(path)
        origins = {u.id: Origin(f"video of {u.dialogue}", digest(u.dialogue)) for u in everything}
        writer.finish(shards, {"name": "synthetic", "label_set": EKMAN.to_dict(), "modalities": ["text"]}, origins)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long a step took, waiting and computing, and the most memory that the process had until then."""
    start, busy = time.perf_counter(), time.process_time()
    yield
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    took, computed = time.perf_counter() - start, time.process_time() - busy
    print(f"{what:45} {took:7.2f} s ({computed:.2f} s of one core)   peak {peak_gb:.2f} GB", flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=100_000)
    count = parser.parse_args().utterances
    start, busy = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        store_folder = Path(folder) / "store"
        with timed(f"write the store of {count:,} utterances"):
            write(store_folder, count)
        with timed("read its index"):
            members: Sequence[Member] = Store(store_folder).members()
        lists = Path(folder) / "lists"
        OfficialSplit().split(members).write(lists)
        ways: dict[str, Callable[[], OfficialSplit | ListsSplit | LeaveOneOutSplit | RandomSplit]] = {
            "official": OfficialSplit,
            "lists": lambda: ListsSplit(folder=lists),
            "leave one session out": lambda: LeaveOneOutSplit(test="S0001"),
            "random by speaker": lambda: RandomSplit(by="speaker"),
            "random by dialogue": lambda: RandomSplit(by="dialogue"),
            "random by recording": lambda: RandomSplit(by="recording"),
            "random by utterance": lambda: RandomSplit(by="utterance"),
        }
        for name, way in ways.items():
            with timed(f"{name}: split, check, report"):
                report = report_split(way().split(members), members, "synthetic")
            print(f"    {sum(overlap.count for overlap in report.overlaps)} things shared")
    print(f"all of it {time.perf_counter() - start:.1f} s ({time.process_time() - busy:.1f} s of one core)")


if __name__ == "__main__":
    main()

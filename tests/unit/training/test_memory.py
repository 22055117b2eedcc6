from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, sys, torch
from maeum.training.memory import keep_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_memory()
def step(): torch.ones(16_000_000)
for _ in range(30):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_large_tensors_are_not_mapped_anew_in_every_step() -> None:
    faults = {}
    for mode in ("keep", "leave"):
        run = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
        faults[mode] = int(run.stdout)
    assert faults["keep"] <= faults["leave"] / 5, faults  # 64 MB are 16,000 pages
    assert faults["leave"] > 100


HUGE = """
import sys
from maeum.training.memory import huge_pages
assert "torch" not in sys.modules
if sys.argv[1] == "huge":
    huge_pages()
import torch
large = [torch.ones(16_000_000) for _ in range(4)]
with open("/proc/self/smaps_rollup") as lines:
    print(next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages")))
"""


def _given_to_who_asks() -> bool:
    try:
        return "[madvise]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="utf-8")
    except OSError:
        return False


@pytest.mark.skipif(not _given_to_who_asks(), reason="of Linux, where who asks gets huge pages")
def test_large_tensors_lie_in_huge_pages() -> None:
    kilobytes = {}
    for mode in ("huge", "small"):
        run = subprocess.run([sys.executable, "-c", HUGE, mode], capture_output=True, text=True, check=True)
        kilobytes[mode] = int(run.stdout)
    assert kilobytes["huge"] > 100_000, kilobytes  # of 256,000
    assert kilobytes["small"] < 50_000, kilobytes

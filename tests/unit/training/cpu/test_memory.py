from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, sys, torch
from maeum.training.cpu.memory import keep_memory
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


def _run(script: str, *arguments: str) -> str:
    """What a process of its own prints, where nobody asked for huge pages before, as `maeum train` does."""
    environment = {k: v for k, v in os.environ.items() if k != "THP_MEM_ALLOC_ENABLE"}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_large_tensors_are_not_mapped_anew_in_every_step() -> None:
    faults = {}
    for mode in ("keep", "leave"):
        faults[mode] = int(_run(FAULTS, mode))
    assert faults["keep"] <= faults["leave"] / 5, faults  # 64 MB are 16,000 pages
    assert faults["leave"] > 100


HUGE = """
import sys
from maeum.training.cpu.memory import huge_pages
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
        kilobytes[mode] = int(_run(HUGE, mode))
    assert kilobytes["huge"] > 100_000, kilobytes  # of 256,000
    assert kilobytes["small"] < 50_000, kilobytes


ORDER = """
import sys
import maeum.training.cpu.memory as memory
def asked():
    print("torch" in sys.modules)
    raise SystemExit(0)
memory.huge_pages = asked
from maeum.cli import main
sys.argv[1:] = sys.argv[1].split()
main()
"""


@pytest.mark.parametrize("command", ["train recipe.yaml --out x", "reproduce mmer/table study.yaml --out x"])
def test_commands_that_train_ask_before_torch_is_there(command: str) -> None:
    assert _run(ORDER, command).strip() == "False"

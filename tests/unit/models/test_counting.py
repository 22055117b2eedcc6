"""Multiply-adds: counted by hand, by PyTorch's own counter, and by the table of one face and one mel chunk."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from maeum.models.counting import count, neighbour_pairs
from maeum.models.fe2e import FE2E, BranchConfig, FE2EConfig, TransformerConfig
from maeum.models.mesm import MESM, MESMConfig
from maeum.types import Batch

SMALL = BranchConfig(
    widths=(4, 6, 8, 10), stem_blocks=1, hidden=12, transformer=TransformerConfig(layers=1, feedforward=16)
)
SIZES = {"labels": 3, "dim": 8, "faces": SMALL, "speech": SMALL, "text": {"kind": "small", "vocabulary": 20}}


def batch(faces: int = 3, mel_chunks: int = 2) -> Batch:
    """Two clips, the second of which has one face and one mel chunk less."""
    generator = torch.Generator().manual_seed(0)
    valid = [torch.arange(n) < torch.tensor([[n], [n - 1]]) for n in (faces, mel_chunks)]
    return Batch(
        ("a", "b"),
        torch.randint(0, 256, (2, faces, 3, 48, 48), generator=generator, dtype=torch.uint8),
        valid[0],
        torch.randn(2, mel_chunks, 1, 128, 32, generator=generator),
        valid[1],
        torch.randint(1, 20, (2, 5), generator=generator),
        torch.ones(2, 5, dtype=torch.bool),
    )


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (3, 6, 4)])
def test_neighbour_pairs_are_those_that_are_counted_one_by_one(shape: tuple[int, int, int]):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.5
    pairs = 0
    for n, row, column in itertools.product(*map(range, shape)):
        for r, c in itertools.product((row - 1, row, row + 1), (column - 1, column, column + 1)):
            inside = 0 <= r < shape[1] and 0 <= c < shape[2]
            pairs += bool(mask[n, row, column]) and inside and bool(mask[n, r, c])
    assert neighbour_pairs(mask) == pairs


def test_fe2e_is_counted_as_pytorch_counts_it():
    model = FE2E(FE2EConfig.parse(SIZES)).eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(batch())
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    stages = count(model, batch())
    # The fusion of the logits is left out; it is a sum.
    assert sum(s.done for s in stages) == counter.get_total_flops() // 2
    assert all(s.done == s.dense for s in stages)
    assert [s.stage for s in stages if s.branch == "faces"] == [
        "stem", "block 1", "block 2", "block 3", "projection", "sequence", "head",
    ]  # fmt: skip


def test_one_face_and_one_piece_of_the_published_size():
    """Millions of multiply-adds as measured for the design."""
    published = FE2EConfig.parse({"labels": 6, "faces": {}, "speech": {}})
    one = Batch(("a",), torch.zeros(1, 1, 3, 48, 48), torch.ones(1, 1, dtype=torch.bool),
                torch.zeros(1, 1, 1, 128, 32), torch.ones(1, 1, dtype=torch.bool))  # fmt: skip
    found = {(s.branch, s.stage): round(s.dense / 1e6) for s in count(FE2E(published), one)}
    assert [found["faces", f"block {i}"] for i in (1, 2, 3)] == [127, 127, 127]
    assert [found["speech", f"block {i}"] for i in (1, 2, 3)] == [226, 226, 226]
    assert (found["faces", "stem"], found["speech", "stem"]) == (96, 158)
    assert (found["faces", "projection"], found["speech", "projection"]) == (5, 8)


@pytest.mark.parametrize("top_p", [0.3, 1.0])
def test_mesm_counts_what_it_keeps(top_p: float):
    torch.manual_seed(0)
    model = MESM(MESMConfig.parse({**SIZES, "top_p": top_p})).eval()
    with torch.no_grad():
        auxiliary = model(batch()).auxiliary
    stages = {(s.branch, s.stage): s for s in count(model, batch())}
    for branch, maps, (height, width) in (("faces", 5, (24, 24)), ("speech", 3, (64, 16))):
        active = maps * height * width
        for number, (before, after) in enumerate(itertools.pairwise(SMALL.widths)):
            mask = auxiliary[f"{branch}.selected{number}"]
            block = stages[branch, f"block {number + 1}"]
            assert (block.selected, block.positions) == (int(mask.sum()), mask.numel())
            assert block.dense == 9 * (before * after + after * after) * mask.numel()
            assert block.done == (before * after + after * after) * neighbour_pairs(mask)
            attention = stages[branch, f"attention {number + 1}"]
            assert attention.done == active * (before * before + before) + maps * before * model.query_dim
            halves = mask.view(len(mask), mask.shape[1] // 2, 2, mask.shape[2] // 2, 2)
            active = int(halves.any(4).any(2).sum())
    if top_p == 1:
        assert stages["faces", "block 1"].selected == 5 * 24 * 24
        # Without the padding that a dense convolution multiplies.
        assert neighbour_pairs(auxiliary["faces.selected0"]) == 5 * (3 * 24 - 2) ** 2

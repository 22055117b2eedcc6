"""What MESM keeps under each selection."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from maeum.models.fe2e import BranchConfig, TransformerConfig
from maeum.models.mesm import MESM, CrossModalAttention, MESMConfig
from maeum.sparse import reference
from maeum.training.loop import Paced
from maeum.types import Batch

BRANCH = BranchConfig(widths=(4, 6, 8, 10), stem_blocks=0, hidden=12, transformer=TransformerConfig(layers=1))


def mesm(**changes: Any) -> MESM:
    torch.manual_seed(0)
    return MESM(MESMConfig.parse({"labels": 3, "dim": 8, "faces": BRANCH, "speech": None, **changes})).eval()


def faces(n: int = 4) -> Batch:
    pixels = torch.rand(n, 1, 3, 48, 48, generator=torch.Generator().manual_seed(1)) * 255
    return Batch(tuple(map(str, range(n))), pixels, torch.ones(n, 1, dtype=torch.bool))


def kept(model: MESM) -> list[torch.Tensor]:
    with torch.no_grad():
        shown = model(faces()).auxiliary
    return [shown[f"faces.kept{i}"] for i in range(3)]


def test_most_takes_the_highest_of_what_is_active():
    scores = torch.tensor([[[3.0, 1.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 5.0]]])
    mask = torch.tensor([[[True, True], [True, False]], [[True, True], [False, False]]])
    assert reference.most(scores, mask, torch.tensor([2, 3])).tolist() == [
        [[True, False], [True, False]], [[True, True], [False, False]],
    ]  # fmt: skip
    assert reference.most(scores, mask, torch.tensor([0, 1]))[1].tolist() == [[True, False], [False, False]]


def test_all_keeps_everything():
    assert all(bool(mask.all()) for mask in kept(mesm(selection="all", top_p=0.1)))


@pytest.mark.parametrize("top_p", [0.3, 0.8])
def test_random_keeps_its_share_and_draws_anew(top_p: float):
    model = mesm(selection="random", top_p=top_p)
    first, second = kept(model), kept(model)
    assert (first[0].sum((1, 2)) == math.ceil(top_p * 24 * 24)).all()
    assert not torch.equal(first[0], second[0])
    before = reference.sparse_max_pool2d(first[0].unsqueeze(1).float(), first[0])[1]
    assert torch.equal(first[1].sum((1, 2)), (top_p * before.sum((1, 2))).ceil().long())
    assert not (first[1] & ~before).any()


@pytest.mark.parametrize("selection", ["learned", "published", "random"])
def test_a_budget_keeps_as_many_of_every_map(selection: str):
    for mask, size in zip(kept(mesm(selection=selection, budget=0.25)), (24, 12, 6), strict=True):
        assert (mask.sum((1, 2)) == math.ceil(0.25 * size * size)).all()


def test_learned_and_published_keep_the_same_and_weigh_it_differently():
    learned, published = mesm(selection="learned"), mesm(selection="published")
    assert torch.equal(kept(learned)[0], kept(published)[0])
    with torch.no_grad():
        assert not torch.allclose(learned(faces()).logits, published(faces()).logits)


def test_the_kept_mass_may_be_changed_after_training():
    model = mesm(top_p=0.9)
    many = kept(model)[0].sum()
    model.top_p = 0.2
    assert model.config.top_p == 0.2
    assert kept(model)[0].sum() < many / 2


def test_the_kept_mass_falls_as_a_training_settles():
    model = mesm(top_p=0.2, settle=0.5)
    assert isinstance(model, Paced)
    shares = []
    for done in (0.0, 0.25, 0.5, 0.9):
        model.set_progress(done)
        model.train()
        shares.append(float(kept(model)[0].float().mean()))
    assert shares[0] == 1.0
    assert shares[0] > shares[1] > shares[2]
    assert shares[2] == pytest.approx(shares[3], abs=0.02)
    model.set_progress(0.0)
    model.eval()
    assert kept(model)[0].float().mean() < 0.5, "outside training it is as set"
    assert all(m.loose == 1.0 for m in model.modules() if isinstance(m, CrossModalAttention))


def test_scores_in_bf16_do_not_make_positions_equal():
    """Nearly even attention in bf16 had ties, of which the first positions were kept, whatever they showed."""
    maps, query = torch.randn(2, 32, 24, 24), torch.randn(2, 16)
    w_map, bias, w_query, w = (torch.randn(size) * 0.1 for size in ((32, 32), (32,), (32, 16), (32,)))
    with torch.autocast("cpu", torch.bfloat16):
        scores = reference.additive_scores(maps, query, w_map, bias, w_query, w)
    assert scores.dtype == torch.float32
    assert all(len(one.unique()) > 550 for one in scores.flatten(1))

"""What MESM keeps under each selection."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from maeum.errors import ConfigError, ModelError
from maeum.models.fe2e import BranchConfig, TransformerConfig
from maeum.models.mesm import MESM, CrossModalAttention, MESMConfig, preference
from maeum.sparse import reference
from maeum.types import Batch

BRANCH = BranchConfig(widths=(4, 6, 8, 10), stem_blocks=0, hidden=12, transformer=TransformerConfig(layers=1))


def mesm(**changes: Any) -> MESM:
    torch.manual_seed(0)
    return MESM(MESMConfig.parse({"labels": 3, "dim": 8, "faces": BRANCH, "speech": None, **changes})).eval()


def faces(n: int = 4) -> Batch:
    pixels = torch.rand(n, 1, 3, 48, 48, generator=torch.Generator().manual_seed(1)) * 255
    return Batch(tuple(map(str, range(n))), pixels, torch.ones(n, 1, dtype=torch.bool))


def selected(model: MESM) -> list[torch.Tensor]:
    with torch.no_grad():
        shown = model(faces()).auxiliary
    return [shown[f"faces.selected{i}"] for i in range(3)]


def test_most_takes_the_highest_of_what_is_active():
    scores = torch.tensor([[[3.0, 1.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 5.0]]])
    mask = torch.tensor([[[True, True], [True, False]], [[True, True], [False, False]]])
    assert reference.most(scores, mask, torch.tensor([2, 3])).tolist() == [
        [[True, False], [True, False]], [[True, True], [False, False]],
    ]  # fmt: skip
    assert reference.most(scores, mask, torch.tensor([0, 1]))[1].tolist() == [[True, False], [False, False]]


def test_all_keeps_everything():
    assert all(bool(mask.all()) for mask in selected(mesm(selection="all", top_p=0.1)))


@pytest.mark.parametrize("top_p", [0.3, 0.8])
def test_random_keeps_its_share_and_draws_anew(top_p: float):
    model = mesm(selection="random", top_p=top_p)
    first, second = selected(model), selected(model)
    assert (first[0].sum((1, 2)) == math.ceil(top_p * 24 * 24)).all()
    assert not torch.equal(first[0], second[0])
    before = reference.sparse_max_pool2d(first[0].unsqueeze(1).float(), first[0])[1]
    assert torch.equal(first[1].sum((1, 2)), (top_p * before.sum((1, 2))).ceil().long())
    assert not (first[1] & ~before).any()


@pytest.mark.parametrize("selection", ["learned", "published", "random"])
def test_a_budget_keeps_as_many_of_every_map(selection: str):
    for mask, size in zip(selected(mesm(selection=selection, budget=0.25)), (24, 12, 6), strict=True):
        assert (mask.sum((1, 2)) == math.ceil(0.25 * size * size)).all()


def test_learned_and_published_keep_the_same_and_weigh_it_differently():
    learned, published = mesm(selection="learned"), mesm(selection="published")
    assert torch.equal(selected(learned)[0], selected(published)[0])
    with torch.no_grad():
        assert not torch.allclose(learned(faces()).logits, published(faces()).logits)


def test_the_selected_mass_may_be_changed_after_training():
    model = mesm(top_p=0.9)
    many = selected(model)[0].sum()
    model.top_p = 0.2
    assert model.config.top_p == 0.2
    assert selected(model)[0].sum() < many / 2


@pytest.mark.parametrize("selection", ["learned", "published", "random"])
@pytest.mark.parametrize("form", [{"top_p": 0.2}, {"budget": 0.2}])
def test_the_selection_varies_while_training(selection: str, form: dict[str, float]):
    model = mesm(selection=selection, **form).train()
    shares = [float(selected(model)[0].float().mean()) for _ in range(40)]
    assert min(shares) < 0.4
    assert max(shares) > 0.8
    assert min(shares) >= 0.15
    fixed = mesm(selection=selection, levels=1, **form).train()
    assert len({round(float(selected(fixed)[0].float().mean()), 2) for _ in range(10)}) <= 2
    model.eval()
    assert selected(model)[0].float().mean() < 0.3, "outside training it is as set"


def test_scores_in_bf16_do_not_make_positions_equal():
    """Nearly even attention in bf16 had ties, of which the first positions were selected, whatever they showed."""
    maps = torch.randn(2, 32, 24, 24)
    w_map, bias, w, scale, shift = (torch.randn(size) * 0.1 for size in ((32, 32), (32,), (32,), (2, 32), (2, 32)))
    with torch.autocast("cpu", torch.bfloat16):
        scores = reference.attention_scores(maps, w_map, bias, w, scale, shift)
    assert scores.dtype == torch.float32
    assert all(len(one.unique()) > 550 for one in scores.flatten(1))


def clips(n: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(2)
    there = torch.ones(n, 1, dtype=torch.bool)
    return Batch(
        tuple(map(str, range(n))),
        torch.rand(n, 1, 3, 48, 48, generator=generator) * 255,
        there,
        torch.randn(n, 1, 1, 128, 32, generator=generator),
        there,
        torch.randint(1, 20, (n, 4), generator=generator),
        torch.ones(n, 4, dtype=torch.bool),
    )


WORDS = {"kind": "small", "vocabulary": 20, "width": 8, "channels": 8, "dim": 6}


@pytest.mark.parametrize("scoring", ["modulated", "additive"])
def test_the_query_decides_what_is_selected(scoring: str):
    model = mesm(speech=BRANCH, text=WORDS, scoring=scoring, top_p=0.4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "attention" in name and "query" in name:
                parameter.mul_(20 if scoring == "modulated" else 200)  # an untrained encoder's words hardly differ
    batch = clips()
    other = replace(batch, tokens=batch.tokens.flip(0))  # type: ignore[union-attr]
    with torch.no_grad():
        one, two = (model(b).auxiliary["faces.selected0"] for b in (batch, other))
    assert not torch.equal(one, two)


def test_a_learned_position_counts_at_most_twice():
    model = mesm(top_p=1.0)
    attention = next(m for m in model.modules() if isinstance(m, CrossModalAttention))
    with torch.no_grad():
        attention.score.weight.mul_(1000)
    mask = torch.ones(2, 24, 24, dtype=torch.bool)
    with torch.no_grad():
        keep, gate = attention(torch.rand(2, 4, 24, 24), mask, torch.randn(2, model.query_dim), 0)
        assert gate is not None
        assert keep.all()
        assert 1.9 < float(gate.max()) <= 2
        attention.score.weight.zero_()
        even = attention(torch.rand(2, 4, 24, 24), mask, torch.randn(2, model.query_dim), 0)[1]
    torch.testing.assert_close(even, torch.ones(2, 24, 24))


def test_faces_may_be_asked_by_the_voice():
    model = mesm(speech=BRANCH, text=WORDS, query_modality="speech")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "attention" in name and "query" in name:
                parameter.mul_(20)
        model.encoders["speech"].project[-1].weight.mul_(1000)  # untrained, it says almost the same of all
    batch = clips()
    other_voice = replace(batch, mel_chunks=batch.mel_chunks.flip(0))  # type: ignore[union-attr]
    other_words = replace(batch, tokens=batch.tokens.flip(0))  # type: ignore[union-attr]
    silent = replace(batch, mel_chunks=None, mel_chunks_mask=None)
    with torch.no_grad():
        own, voice, words, none = (model(b) for b in (batch, other_voice, other_words, silent))
    assert not torch.equal(own.auxiliary["faces.selected0"], voice.auxiliary["faces.selected0"])
    assert torch.isfinite(none.logits).all()
    assert not torch.equal(own.auxiliary["speech.selected0"], words.auxiliary["speech.selected0"])
    with pytest.raises(ModelError, match="needs a branch for faces and one for speech"):
        mesm(query_modality="speech")


def test_while_training_clips_may_ask_with_the_words_of_others():
    model = mesm(speech=None, text=WORDS, query_shuffle=1.0, levels=1).train()
    batch = clips()
    encoded = model.encoders["text"](batch.tokens, batch.tokens_mask)
    there = {"text": torch.tensor([True] * 5 + [False])}
    mask = torch.ones(6, 1, dtype=torch.bool)
    torch.manual_seed(0)
    queries = model.attention_query("faces", {"text": encoded}, there, mask)
    own = model.eval().attention_query("faces", {"text": encoded}, there, mask)
    assert torch.equal(own[:5], encoded[:5])
    assert torch.equal(own[5], model.absent_text)
    everybody = torch.cat((encoded[:5], model.absent_text.unsqueeze(0)))
    assert not torch.equal(queries, own)
    for one in queries:
        assert any(torch.equal(one, other) for other in everybody)


def test_every_level_has_norms_of_its_own():
    model = mesm(top_p=0.4, levels=3).train()
    block = model.encoders["faces"].blocks[0]
    before = [m.running_mean.clone() for m in (block.bn1, *block.more_norms)]
    for _ in range(12):
        model(faces())
    for mean, norm in zip(before, (block.bn1, *block.more_norms), strict=True):
        assert not torch.equal(mean, norm.running_mean)
    attention = model.encoders["faces"].attention[0]
    assert attention.masses == pytest.approx([0.4, 0.7, 1.0])
    model.eval()
    for p, level in ((0.1, 0), (0.5, 0), (0.6, 1), (0.8, 1), (0.9, 2), (1.0, 2)):
        model.top_p = p
        assert attention.level() == level
    with torch.no_grad():
        model.top_p = 1.0
        one = model(faces()).logits
        block.more_norms[3].bias += 1
        assert not torch.equal(model(faces()).logits, one)
        model.top_p = 0.4
        one = model(faces()).logits
        block.more_norms[3].bias += 1
        assert torch.equal(model(faces()).logits, one)


def test_a_batch_is_of_one_level_which_has_its_mass_and_its_norms(monkeypatch: pytest.MonkeyPatch):
    model = mesm(selection="random", top_p=0.25, levels=4).train()
    drawn = iter([1])
    monkeypatch.setattr(torch, "multinomial", lambda *_, **__: torch.tensor([next(drawn)]))
    encoder = model.encoders["faces"]
    norms = [(block.bn1, block.bn2, *block.more_norms) for block in encoder.blocks]
    before = [[n.running_mean.clone() for n in of] for of in norms]
    shown = model(faces()).auxiliary
    active = torch.ones(4, 24, 24, dtype=torch.bool)
    for i in range(3):
        mask = shown[f"faces.selected{i}"]
        assert torch.equal(mask.sum((1, 2)), (0.5 * active.sum((1, 2))).ceil().long()), "0.25, 0.5, 0.75, 1"
        active = reference.sparse_max_pool2d(mask.unsqueeze(1).float(), mask)[1]
        moved = [not torch.equal(mean, n.running_mean) for mean, n in zip(before[i], norms[i], strict=True)]
        assert moved == [False, False, True, True, False, False, False, False]


def test_spread_keeps_even_attention_everywhere_and_sharp_attention_where_it_is():
    grid = preference(6, 10, 1.0, torch.device("cpu"))
    assert grid.shape == (6, 10)
    assert sorted(set(grid.flatten().tolist()), reverse=True) == pytest.approx([16 / (i + 0.5) for i in range(16)])
    attention = mesm(top_p=0.25, spread=1.0).encoders["faces"].attention[0]
    maps, query = torch.randn(2, 4, 8, 8), torch.zeros(2, 64)
    mask = torch.ones(2, 8, 8, dtype=torch.bool)
    with torch.no_grad():
        attention.score.weight.zero_()
        keep, _ = attention(maps, mask, query, 0)
        assert torch.equal(reference.sparse_max_pool2d(keep.unsqueeze(1).float(), keep)[1], mask[:, :4, :4])
        assert keep.sum((1, 2)).tolist() == [16, 16], "one of each 2 x 2"
        attention.score.weight.fill_(1.0)
        attention.map.weight.zero_().fill_diagonal_(10.0)
        maps[:, :, :4] = 0.0
        maps[:, :, 2:4, 2:6] = 10.0
        maps[:, :, 4:] = -10.0
        attention.top_p = 0.9
        keep, _ = attention(maps, mask, query, 0)
    assert keep[:, 2:4, 2:6].float().mean() > 0.9, "dense where the attention is sharp"
    assert not keep[:, 4:].any()
    budgeted = mesm(budget=0.25, spread=1.0).encoders["faces"].attention[0]
    with torch.no_grad():
        budgeted.score.weight.zero_()
        keep, _ = budgeted(maps, mask, query, 0)
    assert torch.equal(keep, mask & (preference(8, 8, 1.0, torch.device("cpu")) > 16 / 4))


@pytest.mark.parametrize("settings", [{"top_p": 0.5}, {"budget": 0.5}])
def test_a_map_seen_in_evaluation_first_can_be_trained_on(settings: dict[str, float]):
    preference.cache_clear()
    model = mesm(spread=1.0, **settings)
    with torch.inference_mode():
        model(faces())
    model.train()(faces()).logits.sum().backward()
    assert model.encoders["faces"].attention[0].score.weight.grad is not None


def test_spread_needs_an_order():
    for selection in ("random", "all"):
        with pytest.raises(ConfigError, match=f"spread is for what an attention selects, and selection is {selection}"):
            mesm(spread=1.0, selection=selection)
    with pytest.raises(ConfigError, match="spread"):
        mesm(spread=17.0)


def test_sharpness_multiplies_the_scores():
    plain, sharp = (mesm(sharpness=s).encoders["faces"].attention[0] for s in (1.0, 3.0))
    maps, query = torch.randn(2, 4, 8, 8), torch.randn(2, 64)
    with torch.no_grad():
        one, three = (reference.attention_scores(maps, *a.weights(query)) for a in (plain, sharp))
    torch.testing.assert_close(three, 3 * one)


def test_it_becomes_sharp_step_by_step_and_stays_as_sharp_as_it_was_trained():
    slow, at_once, plain = mesm(sharpness=4.0, sharpen_steps=(1, 5)), mesm(sharpness=4.0), mesm()
    attention, sharp, soft = (model.encoders["faces"].attention[0] for model in (slow, at_once, plain))
    query = torch.randn(2, 64)

    def scores(of: CrossModalAttention) -> torch.Tensor:
        return of.weights(query)[2].detach()

    torch.testing.assert_close(scores(attention), scores(soft))
    seen = []
    for _ in range(7):
        slow.train()(faces())
        slow.eval()(faces())  # looking takes no step
        seen.append(float((scores(attention) / scores(soft)).mean()))
    assert seen == pytest.approx([1.0, 1.75, 2.5, 3.25, 4.0, 4.0, 4.0])
    torch.testing.assert_close(scores(attention), scores(sharp))
    again = mesm(sharpness=4.0, sharpen_steps=(1, 5))
    again.load_state_dict(slow.state_dict())
    torch.testing.assert_close(scores(again.encoders["faces"].attention[0]), scores(sharp))


def test_half_of_the_batches_keep_the_least():
    attention = mesm(levels=3).train().encoders["faces"].attention[0]
    torch.manual_seed(0)
    counts = torch.bincount(torch.tensor([attention.level() for _ in range(4000)]), minlength=3)
    torch.testing.assert_close(counts / 4000, torch.tensor([0.5, 0.25, 0.25]), atol=0.03, rtol=0)
    assert mesm(levels=1).train().encoders["faces"].attention[0].level() == 0


def test_a_mass_of_nothing_is_refused():
    model = mesm(top_p=0.5)
    for wrong in (0.0, -1.0, 1.5):
        with pytest.raises(ConfigError, match="top_p"):
            model.top_p = wrong
    assert model.top_p == 0.5

from __future__ import annotations

import dataclasses

import pytest
import torch

from maeum.data.mixup import mix
from maeum.errors import ConfigError
from maeum.labels import EKMAN, LabelSet
from maeum.types import Batch
from objectives import compare


def batch(**fields):
    mel_chunks = torch.arange(3 * 4, dtype=torch.float32).view(3, 4, 1, 1, 1).expand(3, 4, 1, 128, 32)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    return Batch(
        ids=("a", "b", "c"), mel_chunks=mel_chunks, mel_chunks_mask=mask, target=torch.tensor([0, 3, 6]), **fields
    )


def test_targets_say_what_was_blended():
    generator = torch.Generator().manual_seed(1)
    plain = dataclasses.replace(batch(), mel_chunks_mask=torch.ones(3, 4, dtype=torch.bool))
    values = plain.mel_chunks[:, 0, 0, 0, 0]
    blended = 0
    for _ in range(20):
        mixed = mix(plain, EKMAN, 0.4, generator)
        torch.testing.assert_close(mixed.target.sum(1), torch.ones(3))
        assert (mixed.target.gather(1, plain.target[:, None]) >= 0.5).all()
        # mel chunks are blended with the shares that the targets tell
        torch.testing.assert_close(mixed.mel_chunks[:, 0, 0, 0, 0], mixed.target[:, plain.target] @ values)
        blended += int((mixed.target.max(1).values < 0.99).sum())
    assert blended > 10


def test_a_label_counts_only_as_far_as_its_clip_was_blended_in():
    """Two clips without a common modality stay as they are, and of a short clip a long one gets little."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.tensor([[True], [False]])
    apart = Batch(
        ids=("face", "voice"),
        faces=torch.full((2, 1, 3, 48, 48), 9.0),
        faces_mask=mask,
        mel_chunks=torch.zeros(2, 1, 1, 128, 32),
        mel_chunks_mask=~mask,
        target=torch.tensor([0, 3]),
    )
    for _ in range(10):
        torch.testing.assert_close(mix(apart, EKMAN, 1.0, generator).target, torch.eye(7)[apart.target])
    mask = torch.tensor([[True] * 4, [True] + [False] * 3])
    lengths = Batch(ids=("long", "short"), mel_chunks=torch.zeros(2, 4, 1, 128, 32), mel_chunks_mask=mask,
                    target=torch.tensor([0, 3]))  # fmt: skip
    for _ in range(10):
        assert mix(lengths, EKMAN, 1.0, generator).target[0, 3] <= 0.5 / 4 + 1e-6


def test_a_clip_keeps_its_length_and_stays_itself_where_it_is_longer():
    generator = torch.Generator().manual_seed(0)
    plain = batch()
    for _ in range(20):
        mixed = mix(plain, EKMAN, 1.0, generator)
        assert torch.equal(mixed.mel_chunks_mask, plain.mel_chunks_mask)
        torch.testing.assert_close(mixed.mel_chunks[0, 3], plain.mel_chunks[0, 3])  # nobody else is so long


def test_same_generator_same_blend():
    one, two = (mix(batch(), EKMAN, 0.3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one.mel_chunks, two.mel_chunks)
    assert torch.equal(one.target, two.target)


def test_several_labels_and_scales_are_blended_alike():
    labels = LabelSet(("x", "y"), "multi-label")
    target = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    mixed = mix(dataclasses.replace(batch(), target=target), labels, 0.4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(mixed.target, target)


def test_cross_entropy_of_a_blend_is_the_blend_of_cross_entropies():
    logits = torch.randn(2, 7)
    soft = torch.zeros(2, 7)
    soft[0, 1], soft[0, 4], soft[1, 2] = 0.7, 0.3, 1.0
    parts = [compare("cross-entropy", logits[:1], torch.tensor([k])) for k in (1, 4)]
    expected = (0.7 * parts[0] + 0.3 * parts[1] + compare("cross-entropy", logits[1:], torch.tensor([2]))) / 2
    torch.testing.assert_close(compare("cross-entropy", logits, soft), expected)


def test_words_cannot_be_blended():
    words = batch(tokens=torch.zeros(3, 2, dtype=torch.int64), tokens_mask=torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(ConfigError, match="mixup"):
        mix(words, EKMAN, 0.3, torch.Generator())


def test_a_missing_value_counts_only_where_its_clip_was_blended_in():
    scales = LabelSet(("valence", "arousal"), "dimensional", ((1.0, 5.0), (1.0, 5.0)))
    target = torch.tensor([[2.0, 3.0], [4.0, torch.nan]])
    mask = torch.tensor([[True], [False]])
    apart = Batch(ids=("face", "voice"), faces=torch.full((2, 1, 3, 48, 48), 9.0), faces_mask=mask,
                  mel_chunks=torch.zeros(2, 1, 1, 128, 32), mel_chunks_mask=~mask, target=target)  # fmt: skip
    both = dataclasses.replace(apart, mel_chunks_mask=torch.ones(2, 1, dtype=torch.bool), faces=None, faces_mask=None)
    swapped = 0
    for seed in range(8):
        kept = mix(apart, scales, 1.0, torch.Generator().manual_seed(seed)).target
        torch.testing.assert_close(kept, target, equal_nan=True)
        blended = mix(both, scales, 1.0, torch.Generator().manual_seed(seed)).target
        swapped += int(blended[:, 1].isnan().all())
        assert not blended[:, 0].isnan().any()
    assert swapped > 0

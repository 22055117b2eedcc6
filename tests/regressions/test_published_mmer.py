"""Defects of the published MMER code, each by its number (2: test_contrastive; 8: test_characters, test_collate)."""

from __future__ import annotations

import torch

from maeum.corpora.overlaps import Member
from maeum.corpora.splits import LeaveOneOutSplit
from maeum.data.augment_text import TextAugment
from maeum.data.collate import Collator
from maeum.data.feed import AugmentConfig, Feed, ViewConfig
from maeum.data.sampler import BucketSampler
from maeum.evaluation.metrics import accuracy, uar
from maeum.models.encoders.speech import SmallSpeechConfig
from maeum.models.encoders.text import SmallTextConfig
from maeum.models.mmer import MMER, MMERConfig
from maeum.training.config import TrainConfig
from maeum.training.losses.supervised_contrastive import Memory, supervised_contrastive
from maeum.types import Batch, Clip
from objectives import objective_of

TEXT = SmallTextConfig(vocabulary=20, width=8)
SPEECH = SmallSpeechConfig(widths=(4, 6), dim=16, feedforward=16)


def small(**changes: object) -> MMER:
    torch.manual_seed(0)
    sizes = {"labels": 3, "dim": 8, "heads": 2, "feedforward": 12, "project": 8, "dropout": 0.5}
    return MMER(MMERConfig.parse({**sizes, "speech": SPEECH, "text": TEXT, "characters": ("", "A", "B"), **changes}))


def clips(n: int = 6) -> list[Clip]:
    generator = torch.Generator().manual_seed(0)
    return [
        Clip(str(i), mel_chunks=torch.randn(1 + i % 3, 1, 128, 32, generator=generator) * 3 - 4, text="a b c"[: 1 + i],
             target=torch.tensor(i % 3), spoken_text="AB")
        for i in range(n)
    ]  # fmt: skip


def tokenize(texts: list[str]) -> list[list[int]]:
    return [[1 + ord(letter) % 19 for letter in text] for text in texts]


def batch() -> Batch:
    made = [Clip(**{**vars(c), "view": c}) for c in clips()]
    return Collator(tokenize, encode_transcript=lambda text: [ord(letter) - 64 for letter in text])(made)


def test_mmer_01_training_starts() -> None:
    """Published: a missing import and a missing argument. Here one step of all four tasks reaches every parameter."""
    model = small(freeze_text=False, dropout=0.0).train()
    weight = {"weight": 0.1}
    losses = {"ctc": weight, "supervised-contrastive": {**weight, "memory": 4}, "augmented-contrastive": weight}
    loss, parts = objective_of(TrainConfig(losses=losses), model)(model, batch())
    loss.backward()
    assert set(parts) >= {"ctc", "supervised", "augmented"}
    without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert without == {"absent.speech", "absent.text"}, "every clip had speech and words"


def test_mmer_03_an_anchor_finds_positives_in_batches_of_two() -> None:
    """Published: in batches of 2 of four classes, 74 % of the anchors had none."""
    generator = torch.Generator().manual_seed(0)
    memory, alone = Memory(32), {"batch": 0, "memory": 0}
    for _ in range(200):
        features, target = torch.randn(2, 4, generator=generator), torch.randint(0, 4, (2,), generator=generator)
        alone["batch"] += supervised_contrastive(features, target).alone
        alone["memory"] += supervised_contrastive(features, target, 0.07, memory.features, memory.target).alone
        memory.push(features, target)
    assert 0.68 < alone["batch"] / 400 < 0.82
    assert alone["memory"] / 400 < 0.03


def test_mmer_04_accuracy_is_wa_and_the_mean_recall_is_ua() -> None:
    """Published: the names were swapped."""
    assert accuracy([0, 0, 0, 0], [0, 0, 0, 1]) == 0.75
    assert uar([0, 0, 0, 0], [0, 0, 0, 1], 2) == 0.5


def test_mmer_05_the_best_epoch_is_chosen_on_a_session_of_its_own() -> None:
    """Published: on the test session."""
    members = [Member(f"{s}{i}", "iemocap", session=f"Session{s}") for s in range(1, 6) for i in range(2)]
    for test in range(1, 6):
        parts = LeaveOneOutSplit(test=f"Session{test}").split(members).parts
        sessions = {part: {id[0] for id, p in parts.items() if p == part} for part in ("train", "dev", "test")}
        assert sessions["test"] == {str(test)}
        assert len(sessions["dev"]) == 1
        assert len(sessions["train"]) == 3
        assert not sessions["dev"] & (sessions["test"] | sessions["train"])


def test_mmer_06_nothing_is_drawn_at_random_in_evaluation() -> None:
    """Published: dropout stayed on."""
    model, given = small(), batch()
    with torch.no_grad():
        assert not torch.equal(model.train()(given).logits, model(given).logits)
        assert torch.equal(model.eval()(given).logits, model(given).logits)


def test_mmer_07_an_answer_does_not_depend_on_what_else_is_in_the_batch() -> None:
    """Published: wav2vec2 saw the padding. For its own classes see test_speech_encoders."""
    model, collate = small().eval(), Collator(tokenize)
    together = model(collate(clips()))
    for i, clip in enumerate(clips()):
        torch.testing.assert_close(model(collate([clip])).logits[0], together.logits[i], rtol=1e-5, atol=1e-5)


def test_mmer_10_twins_are_of_training_alone_and_the_same_each_time() -> None:
    """Published: augmented sound was needed, and drawn at random, even in validation."""

    class Clips(list[Clip]):
        label_set = None

    data = Clips(clips())
    sampler = BucketSampler([1.0] * len(data), 3, seed=0)
    views = ViewConfig(text=TextAugment(plain=0.0, leave_out=0.5))
    feed = Feed(data, sampler, Collator(tokenize), AugmentConfig(view=views), seed=0)  # type: ignore[arg-type]
    first, again = next(iter(feed.batches(0))), next(iter(feed.batches(0)))
    assert first.view is not None
    assert again.view is not None
    assert first.view.mel_chunks is not None
    assert first.view.ids == first.ids
    torch.testing.assert_close(first.view.mel_chunks, again.view.mel_chunks, rtol=0, atol=0)
    assert first.mel_chunks is not None
    assert first.view.mel_chunks.shape != first.mel_chunks.shape or not torch.equal(
        first.view.mel_chunks, first.mel_chunks
    )
    assert Collator(tokenize)(clips()).view is None  # what evaluation reads

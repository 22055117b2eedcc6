from __future__ import annotations

import torch

from maeum.data.augment_text import TextAugment, augment_text

TEXTS = [f"Well, I don't know {n}!" for n in range(400)]


def varied(config: TextAugment, seed: int = 0, texts: list[str] = TEXTS) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    return [augment_text(t, config, generator) for t in texts]


def test_nothing_varies_when_nothing_is_asked_for() -> None:
    assert varied(TextAugment(plain=0, lower=0)) == TEXTS


def test_a_share_of_texts_loses_its_signs_and_half_of_them_their_apostrophes() -> None:
    always = varied(TextAugment(plain=1))
    assert all("," not in t and "!" not in t for t in always)
    assert 150 < sum("don't" in t for t in always) < 250
    assert 80 < sum(a != b for a, b in zip(TEXTS, varied(TextAugment(plain=0.3)), strict=True)) < 160


def test_lower_case() -> None:
    assert varied(TextAugment(plain=0, lower=1)) == [t.lower() for t in TEXTS]


def test_the_generator_alone_decides() -> None:
    config = TextAugment(plain=0.5)
    assert varied(config, seed=1) == varied(config, seed=1)
    assert varied(config, seed=1) != varied(config, seed=2)


def test_placeholders_stay_and_signs_alone_stay() -> None:
    assert varied(TextAugment(plain=1), texts=["[NAME], come!", "?!", "😂"]) == ["[NAME] come", "?!", "😂"]

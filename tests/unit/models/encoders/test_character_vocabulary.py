from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from maeum.errors import ConfigError
from maeum.models.encoders.character_vocabulary import SELDOM, CharacterVocabulary, units
from maeum.training.losses.ctc import ctc_loss

ALPHABET = CharacterVocabulary(("", " ", "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "[LAUGHTER]"))


def spelled(text: str) -> str:
    return "".join(ALPHABET.symbols[n] for n in ALPHABET.encode(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Kids are talking, by the door!", "KIDS ARE TALKING BY THE DOOR"),
        ("  I don\u2019t -- know.  ", "I DON'T KNOW"),
        ("[LAUGHTER] Oh, {LG} well", "[LAUGHTER] OH [LAUGHTER] WELL"),
        ("<laughter> yes ++LAUGHTER++", "[LAUGHTER] YES [LAUGHTER]"),
        ("[BREATHING] no", "NO"),  # not among these symbols
        ("42 \u00fcber", "BER"),
        ("...", ""),
        ("", ""),
    ],
)
def test_what_is_said_is_spelled_and_nothing_else(text: str, said: str) -> None:
    assert spelled(text) == said


def test_mmer_08_laughter_is_not_spelled_as_letters() -> None:
    """Published: "{LG}" became the letters L and G."""
    assert units("{LG} ha") == ["[LAUGHTER]", " ", "H", "A"]


def test_signs_that_belong_to_a_letter_stay_with_it() -> None:
    for word in ("\u0915\u0948\u0938\u0947", "\u0915\u093f\u0938"):  # with and without a place of their own
        assert "".join(units(word)) == word


def test_an_alphabet_is_what_a_corpus_says_often() -> None:
    found = CharacterVocabulary.of([*["ab [LAUGHTER]"] * SELDOM, "c"])
    assert found.symbols == ("", " ", "A", "B", "[LAUGHTER]")
    with pytest.raises(ConfigError, match="no character"):
        CharacterVocabulary.of(["ab"])
    for wrong in (["A", "B"], ["", "A", "A"], [""]):
        with pytest.raises(ConfigError, match="blank"):
            CharacterVocabulary(wrong)


def test_repeats_are_one_and_blanks_part_them() -> None:
    a, b, space = (ALPHABET.symbols.index(s) for s in ("A", "B", " "))
    assert ALPHABET.decode([0, a, a, 0, a, b, b, space, space, 0, b, 0]) == "AAB B"
    assert ALPHABET.decode([space, a, space]) == "A"
    assert ALPHABET.decode([]) == ""


def test_the_loss_of_an_utterance_alone_is_ctc_over_its_characters() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 9, 5, generator=generator)
    steps = torch.arange(9) < torch.tensor([9, 4, 6]).unsqueeze(1)
    spoken = torch.tensor([[1, 2, 3], [4, 0, 0], [2, 2, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]]).bool()
    found = ctc_loss(logits, steps, spoken, mask)
    has, wanted = steps.sum(1), mask.sum(1)
    log_probs = [row[:n].log_softmax(1).unsqueeze(1) for row, n in zip(logits, has.tolist(), strict=True)]
    single = [
        F.ctc_loss(said, spoken[i : i + 1], has[i : i + 1], wanted[i : i + 1], reduction="sum")
        for i, said in enumerate(log_probs)
    ]
    torch.testing.assert_close(found.loss, sum(single) / 6)
    assert (found.characters, found.left_out) == (6, 0)


def test_what_cannot_be_aligned_is_left_out_and_counted() -> None:
    logits = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    steps = torch.tensor([[1, 1, 1], [1, 1, 1], [0, 0, 0], [1, 1, 1]]).bool()
    spoken = torch.tensor([[1, 1, 0], [1, 1, 2], [1, 2, 0], [0, 0, 0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 1, 0], [0, 0, 0]]).bool()
    found = ctc_loss(logits, steps, spoken, mask)
    assert (found.characters, found.left_out) == (2, 1)  # 1 1 2 needs four steps; one has no speech, one no words
    found.loss.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[1:] == 0).all()
    nothing = ctc_loss(logits, steps, spoken, torch.zeros_like(mask))
    assert (float(nothing.loss.detach()), nothing.characters) == (0.0, 0)

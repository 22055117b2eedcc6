"""Padding and masks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from maeum.data.collate import Collator
from maeum.errors import ConfigError
from maeum.types import Clip


def tokenize(texts: list[str]) -> list[list[int]]:
    """1, the words' lengths, 2."""
    return [[1, *(len(word) + 10 for word in text.split()), 2] for text in texts]


def clip(id: str, frames: int = 0, mel_chunks: int = 0, text: str | None = None, target: int | None = 0) -> Clip:
    faces = torch.arange(frames, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 48, 48) + 1 if frames else None
    mel = torch.arange(mel_chunks).float().view(-1, 1, 1, 1).expand(-1, 1, 128, 32) + 1 if mel_chunks else None
    return Clip(id, faces, mel, text, None if target is None else torch.tensor(target))


def test_shapes_masks_and_padding():
    batch = Collator(tokenize, pad_id=9)([clip("a", 2, 1, "to be"), clip("b", 3, 0, "x"), clip("c", 0, 2, None)])
    assert batch.ids == ("a", "b", "c")
    assert batch.faces.shape == (3, 3, 3, 48, 48)
    assert batch.faces.dtype == torch.uint8
    assert batch.faces_mask.tolist() == [[True, True, False], [True, True, True], [False, False, False]]
    assert batch.faces[:, :, 0, 0, 0].tolist() == [[1, 2, 0], [1, 2, 3], [0, 0, 0]]
    assert batch.mel_chunks_mask.tolist() == [[True, False], [False, False], [True, True]]
    assert batch.tokens.tolist() == [[1, 12, 12, 2], [1, 11, 2, 9], [9, 9, 9, 9]]
    assert batch.tokens_mask.tolist() == [[True] * 4, [True, True, True, False], [False] * 4]
    assert batch.target.tolist() == [0, 0, 0]


def test_what_nobody_has_is_none():
    batch = Collator(tokenize)([clip("a", 1), clip("b", 1, text="   ")])
    assert batch.mel_chunks is None
    assert batch.mel_chunks_mask is None
    assert batch.tokens is None
    assert batch.tokens_mask is None
    assert Collator()([clip("a", 1, text="words")]).tokens is None


def test_a_clip_collates_to_the_same_alone_and_in_company():
    collate = Collator(tokenize)
    a, b = clip("a", 2, 3, "one two"), clip("b", 5, 1, "one two three four")
    alone, together = collate([a]), collate([b, a])
    for name in ("faces", "mel_chunks", "tokens"):
        mask = getattr(together, f"{name}_mask")[1]
        assert torch.equal(getattr(together, name)[1][mask], getattr(alone, name)[0])


def test_long_clips_are_shortened():
    batch = Collator(tokenize, max_tokens=4, max_frames=3, max_mel_chunks=2)([clip("a", 9, 7, "a bb ccc dddd")])
    assert batch.faces[0, :, 0, 0, 0].tolist() == [2, 5, 8]  # the middles of three equal stretches
    assert batch.mel_chunks[0, :, 0, 0, 0].tolist() == [3, 4]  # the middle
    assert batch.tokens.tolist() == [[1, 11, 12, 2]]  # the end token survives


def test_limits_that_are_not_reached_change_nothing():
    one = Collator(tokenize, max_frames=2, max_mel_chunks=2, max_tokens=3)([clip("a", 2, 2, "a")])
    assert one.faces[0, :, 0, 0, 0].tolist() == [1, 2]
    assert one.mel_chunks[0, :, 0, 0, 0].tolist() == [1, 2]
    assert one.tokens.tolist() == [[1, 11, 2]]


def test_targets_all_or_none():
    assert Collator()([clip("a", 1, target=None)]).target is None
    with pytest.raises(ConfigError, match="b: has no target"):
        Collator()([clip("a", 1), clip("b", 1, target=None)])
    with pytest.raises(ConfigError, match="at least one clip"):
        Collator()([])
    with pytest.raises(ConfigError, match="max_frames = 0"):
        Collator(max_frames=0)


def encode_transcript(text: str) -> list[int]:
    return [ord(letter) - 96 for letter in text]


def test_transcripts_become_character_ids_where_they_are_known():
    clips = [
        replace(clip("a", mel_chunks=1), spoken_text="ab"),
        clip("b", mel_chunks=1),
        replace(clip("c", mel_chunks=1), spoken_text="abc"),
    ]
    batch = Collator(encode_transcript=encode_transcript)(clips)
    assert batch.transcript_ids.tolist() == [[1, 2, 0], [0, 0, 0], [1, 2, 3]]
    assert batch.transcript_mask.sum(1).tolist() == [2, 0, 3]
    assert Collator()(clips).transcript_ids is None


def test_mmer_08_a_sound_that_is_shortened_has_no_transcript():
    """Published: the sound was cut at 13.1 s, its transcript was not."""
    long = replace(clip("a", mel_chunks=3), spoken_text="ab")
    short = replace(clip("b", mel_chunks=2), spoken_text="ab")
    wave = Clip("c", wave=torch.ones(2 * 6400 + 1), spoken_text="ab", target=torch.tensor(0))
    batch = Collator(encode_transcript=encode_transcript, max_mel_chunks=2)([long, short, wave])
    assert batch.transcript_mask.sum(1).tolist() == [0, 2, 0]
    assert batch.wave.shape == (3, 2 * 6400)


def test_waves_are_padded_and_masked():
    clips = [Clip("a", wave=torch.full((5,), 0.5)), Clip("b", wave=torch.full((3,), 0.25)), clip("c", 1, target=None)]
    batch = Collator()(clips)
    assert batch.wave.tolist() == [[0.5] * 5, [0.25] * 3 + [0, 0], [0] * 5]
    assert batch.wave_mask.sum(1).tolist() == [5, 3, 0]
    assert clips[0].modalities == ("speech",)


def test_twins_make_a_batch_of_their_own_and_move_with_it():
    a = replace(clip("a", mel_chunks=1, text="one two"), view=clip("a", mel_chunks=3, text="one"))
    batch = Collator(tokenize)([clip("b", mel_chunks=2), a])
    assert batch.has_view.tolist() == [False, True]
    assert batch.view.ids == ("a",)
    assert batch.view.mel_chunks.shape[:2] == (1, 3)
    assert batch.mel_chunks.shape[:2] == (2, 2)
    moved = batch.to("meta")
    assert moved.view.mel_chunks.device.type == moved.has_view.device.type == "meta"
    assert Collator()([clip("b", mel_chunks=2)]).view is None

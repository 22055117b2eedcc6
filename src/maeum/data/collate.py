"""Clips into a batch: the only place that pads and makes masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from maeum.errors import ConfigError
from maeum.media.shapes import MEL_CHUNK_SAMPLES
from maeum.types import Batch, Clip

Tokenize = Callable[[list[str]], list[list[int]]]


class Collator:
    """Pads clips to the longest of the batch and says in masks what is valid.

    What is too long is shortened: frames are thinned out evenly over time, of the mel chunks the middle stretch is
    used, of the tokens the first ``max_tokens - 1`` and the last one (an encoder's end token survives). Views make a
    batch of their own.

    Args:
        tokenize: texts -> token ids of each, special tokens included; None leaves text out.
        pad_id: the token that fills up; masked out everywhere.
        max_tokens: tokens at most.
        max_frames: face frames at most, None for all.
        max_mel_chunks: mel chunks at most (400 ms each), and as much of a wave; None for all.
        encode_transcript: transcript -> ids of its characters; None leaves them out. A sound that is shortened holds
            only part of its transcript, so it gets none.
        vectors: tokens ``(length,)`` -> what a frozen text encoder makes of them, ``(length, width)``, or None where it
            is not known; a batch has the vectors of all its texts, or none.
        sound_features: samples ``(samples,)`` -> what the frozen part of a speech encoder makes of them,
            ``(steps, ...)``, or None where it is not known; a batch has those of all its sounds, or none.
    """

    def __init__(
        self,
        tokenize: Tokenize | None = None,
        pad_id: int = 0,
        max_tokens: int = 100,
        max_frames: int | None = None,
        max_mel_chunks: int | None = None,
        encode_transcript: Callable[[str], list[int]] | None = None,
        vectors: Callable[[Tensor], Tensor | None] | None = None,
        sound_features: Callable[[Tensor], Tensor | None] | None = None,
    ) -> None:
        for name, value in (("max_tokens", max_tokens), ("max_frames", max_frames), ("max_mel_chunks", max_mel_chunks)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value} is below 1")
        self.tokenize = tokenize
        self.pad_id = pad_id
        self.max_tokens, self.max_frames, self.max_mel_chunks = max_tokens, max_frames, max_mel_chunks
        self.max_samples = None if max_mel_chunks is None else max_mel_chunks * MEL_CHUNK_SAMPLES
        self.encode_transcript, self.vectors, self.sound_features = encode_transcript, vectors, sound_features

    def __call__(self, clips: Sequence[Clip]) -> Batch:
        """The batch of these clips, in their order.

        Raises:
            ConfigError: when there are no clips, or some have a target and some do not.
        """
        if not clips:
            raise ConfigError("a batch needs at least one clip")
        faces, faces_mask = pad([None if c.faces is None else self._thin(c.faces) for c in clips])
        mel_chunks, mel_chunks_mask = pad(
            [None if c.mel_chunks is None else _middle(c.mel_chunks, self.max_mel_chunks) for c in clips]
        )
        sounds = [self.sound(c.wave) for c in clips]
        wave, wave_mask = pad(sounds)
        rows = self.tokens(clips)
        tokens, tokens_mask = pad(rows, self.pad_id)
        transcript_ids, transcript_mask = pad([self._transcript_ids(c) for c in clips])
        sound_features, sound_features_mask = _known(sounds, self.sound_features)
        views = [c.view for c in clips if c.view is not None]
        return Batch(
            ids=tuple(c.id for c in clips),
            faces=faces,
            faces_mask=faces_mask,
            mel_chunks=mel_chunks,
            mel_chunks_mask=mel_chunks_mask,
            tokens=tokens,
            tokens_mask=tokens_mask,
            vectors=_known(rows, self.vectors)[0],
            target=_targets(clips),
            wave=wave,
            wave_mask=wave_mask,
            sound_features=sound_features,
            sound_features_mask=sound_features_mask,
            transcript_ids=transcript_ids,
            transcript_mask=transcript_mask,
            view=self(views) if views else None,
            has_view=torch.tensor([c.view is not None for c in clips]) if views else None,
        )

    def _thin(self, faces: Tensor) -> Tensor:
        if self.max_frames is None or len(faces) <= self.max_frames:
            return faces
        # The centres of max_frames equal stretches of time.
        centres = (torch.arange(self.max_frames, dtype=torch.float64) + 0.5) * (len(faces) / self.max_frames)
        return faces[centres.long()]

    def _transcript_ids(self, clip: Clip) -> Tensor | None:
        if self.encode_transcript is None or not clip.spoken_text:
            return None
        if any(
            sound is not None and most is not None and len(sound) > most
            for sound, most in ((clip.mel_chunks, self.max_mel_chunks), (clip.wave, self.max_samples))
        ):
            return None
        return torch.tensor(self.encode_transcript(clip.spoken_text), dtype=torch.int64)

    def sound(self, wave: Tensor | None) -> Tensor | None:
        """As much of a wave as a batch has of it."""
        return None if wave is None else _middle(wave, self.max_samples)

    def tokens(self, clips: Sequence[Clip]) -> list[Tensor | None]:
        """The tokens of each clip's words, ``(length,)`` int64, or None."""
        present = [i for i, c in enumerate(clips) if "text" in c.modalities]
        rows: list[Tensor | None] = [None] * len(clips)
        if self.tokenize is None or not present:
            return rows
        texts = [clips[i].text or "" for i in present]
        for i, ids in zip(present, self.tokenize(texts), strict=True):
            ids = ids if len(ids) <= self.max_tokens else [*ids[: self.max_tokens - 1], ids[-1]]
            rows[i] = torch.tensor(ids, dtype=torch.int64) if ids else None
        return rows


def _known(
    rows: Sequence[Tensor | None], find: Callable[[Tensor], Tensor | None] | None
) -> tuple[Tensor | None, Tensor | None]:
    """What is known of every row, padded, and its mask; None, None where of one nothing is."""
    if find is None:
        return None, None
    found = [None if row is None else find(row) for row in rows]
    whole = all((one is None) == (row is None) for one, row in zip(found, rows, strict=True))
    return pad(found) if whole else (None, None)


def _middle(sound: Tensor, most: int | None) -> Tensor:
    if most is None or len(sound) <= most:
        return sound
    first = (len(sound) - most) // 2
    return sound[first : first + most]


def pad(rows: Sequence[Tensor | None], value: int = 0) -> tuple[Tensor | None, Tensor | None]:
    """Sequences of different length as one tensor and its mask.

    Args:
        rows: ``(length, ...)`` each, or None where there is nothing.
        value: what fills up.

    Returns:
        ``(batch, longest, ...)`` and bool ``(batch, longest)``, True where valid; None, None when nobody has anything.
    """
    present = [row for row in rows if row is not None and len(row)]
    if not present:
        return None, None
    longest = max(len(row) for row in present)
    whole = torch.full((len(rows), longest, *present[0].shape[1:]), value, dtype=present[0].dtype)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        if row is not None and len(row):
            whole[i, : len(row)] = row
            mask[i, : len(row)] = True
    return whole, mask


def _targets(clips: Sequence[Clip]) -> Tensor | None:
    targets = [c.target for c in clips if c.target is not None]
    if not targets:
        return None
    if len(targets) < len(clips):
        without = next(c.id for c in clips if c.target is None)
        raise ConfigError("has no target, others in its batch do", item=without, remedy="Do not mix them in one batch.")
    return torch.stack(targets)

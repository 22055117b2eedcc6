"""Clips into a batch: the only place that pads and makes masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from maeum.errors import ConfigError
from maeum.types import Batch, Clip

Tokenize = Callable[[list[str]], list[list[int]]]


class Collator:
    """Pads clips to the longest of the batch and says in masks what is valid.

    What is too long is shortened: frames are thinned out evenly over time, of the pieces the middle stretch is kept,
    of the tokens the first ``max_tokens - 1`` and the last one (an encoder's end token survives).

    Args:
        tokenize: texts -> token ids of each, special tokens included; None leaves text out.
        pad_id: the token that fills up; masked out everywhere.
        max_tokens: tokens at most.
        max_frames: face frames at most, None for all.
        max_pieces: speech pieces at most (400 ms each), None for all.
    """

    def __init__(
        self,
        tokenize: Tokenize | None = None,
        pad_id: int = 0,
        max_tokens: int = 100,
        max_frames: int | None = None,
        max_pieces: int | None = None,
    ) -> None:
        for name, value in (("max_tokens", max_tokens), ("max_frames", max_frames), ("max_pieces", max_pieces)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value} is below 1")
        self.tokenize = tokenize
        self.pad_id = pad_id
        self.max_tokens, self.max_frames, self.max_pieces = max_tokens, max_frames, max_pieces

    def __call__(self, clips: Sequence[Clip]) -> Batch:
        """The batch of these clips, in their order.

        Raises:
            ConfigError: when there are no clips, or some have a target and some do not.
        """
        if not clips:
            raise ConfigError("a batch needs at least one clip")
        faces, faces_mask = pad([None if c.faces is None else self._thin(c.faces) for c in clips])
        pieces, pieces_mask = pad([None if c.pieces is None else self._middle(c.pieces) for c in clips])
        tokens, tokens_mask = pad(self._tokens(clips), self.pad_id)
        return Batch(
            ids=tuple(c.id for c in clips),
            faces=faces,
            faces_mask=faces_mask,
            pieces=pieces,
            pieces_mask=pieces_mask,
            tokens=tokens,
            tokens_mask=tokens_mask,
            target=_targets(clips),
        )

    def _thin(self, faces: Tensor) -> Tensor:
        if self.max_frames is None or len(faces) <= self.max_frames:
            return faces
        # The centres of max_frames equal stretches of time.
        centres = (torch.arange(self.max_frames, dtype=torch.float64) + 0.5) * (len(faces) / self.max_frames)
        return faces[centres.long()]

    def _middle(self, pieces: Tensor) -> Tensor:
        if self.max_pieces is None or len(pieces) <= self.max_pieces:
            return pieces
        first = (len(pieces) - self.max_pieces) // 2
        return pieces[first : first + self.max_pieces]

    def _tokens(self, clips: Sequence[Clip]) -> list[Tensor | None]:
        there = [i for i, c in enumerate(clips) if "text" in c.modalities]
        rows: list[Tensor | None] = [None] * len(clips)
        if self.tokenize is None or not there:
            return rows
        texts = [clips[i].text or "" for i in there]
        for i, ids in zip(there, self.tokenize(texts), strict=True):
            kept = ids if len(ids) <= self.max_tokens else [*ids[: self.max_tokens - 1], ids[-1]]
            rows[i] = torch.tensor(kept, dtype=torch.int64) if kept else None
        return rows


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

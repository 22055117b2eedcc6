"""A way to split: by the first letter of the speaker's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from maeum.corpora.overlaps import Member
from maeum.corpora.splits import Split, Splitter


class ByInitial(Splitter):
    """Speakers before one letter are train, from another letter on test, those between are dev."""

    kind: Literal["by-initial"] = "by-initial"
    dev_from: str = "m"
    """First letter of the dev speakers."""
    test_from: str = "t"
    """First letter of the test speakers."""

    def split(self, members: Sequence[Member]) -> Split:
        """The parts of these members; those without a speaker are in none."""
        parts = {m.id: self._part(m.speaker) for m in members if m.speaker}
        return Split("by initial", parts)

    def _part(self, speaker: str) -> str:
        return "train" if speaker < self.dev_from else "dev" if speaker < self.test_from else "test"

"""Defects of the published code that concern which utterance is in which part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maeum.corpora.overlaps import Member, format_overlaps, refuse
from maeum.corpora.splits import LeaveOneOutSplit, ListsSplit, RandomSplit
from maeum.errors import CorpusError

#: As large as the reorganised IEMOCAP: 7,380 utterances of 10 speakers in 151 dialogues of five sessions.
IEMOCAP = [
    Member(
        id=f"u{n}",
        corpus="iemocap",
        speaker=f"Ses0{d % 5 + 1}{'FM'[n % 2]}",
        dialogue=f"d{d}",
        recording=f"d{d}",
        session=f"Session{d % 5 + 1}",
        content=f"film of d{d}",
    )
    for n, d in enumerate(np.sort(np.arange(7380) % 151).tolist())
]


def test_mesm_06_a_random_split_of_utterances_is_refused() -> None:
    """Published: 70/10/20 at random, so that train and test share all dialogues and speakers."""
    split = RandomSplit(by="utterance", dev_share=0.1, test_share=0.2).split(IEMOCAP)
    assert [list(split.parts.values()).count(part) for part in ("train", "dev", "test")] == [5166, 738, 1476]
    found = split.overlaps(IEMOCAP)
    with pytest.raises(CorpusError, match=r"10 speakers, .* shared by train and test"):
        refuse(found, allow=False)
    shared = {(overlap.kind, overlap.parts): overlap.count for overlap in found}
    assert shared["speaker", ("train", "test")] == 10
    assert shared["dialogue", ("train", "test")] >= 150
    assert refuse(found, allow=True) == format_overlaps(found), "allowed, it stands with every score"


def test_mesm_06_a_split_by_dialogue_still_shares_speakers() -> None:
    split = RandomSplit(by="dialogue", dev_share=0.1, test_share=0.2).split(IEMOCAP)
    with pytest.raises(CorpusError, match=r"10 speakers shared by train and dev; .* \(such as speaker Ses01F: u"):
        refuse(split.overlaps(IEMOCAP), allow=False)


def test_mesm_06_a_split_by_speaker_passes() -> None:
    split = RandomSplit(dev_share=0.2, test_share=0.2).split(IEMOCAP)
    assert refuse(split.overlaps(IEMOCAP), allow=False) == ()


@pytest.mark.parametrize("session", [f"Session{n}" for n in range(1, 6)])
def test_mmer_05_dev_is_never_the_test_session(session: str) -> None:
    """Published: the best epoch was chosen on the session that was reported."""
    split = LeaveOneOutSplit(test=session).split(IEMOCAP)
    sessions = {part: {m.session for m in those} for part, those in split.members(IEMOCAP).items()}
    assert sessions["test"] == {session}
    assert len(sessions["dev"]) == 1
    assert len(sessions["train"]) == 3
    assert split.overlaps(IEMOCAP) == ()
    with pytest.raises(CorpusError, match="is to be dev and test"):
        LeaveOneOutSplit(test=session, dev=session).split(IEMOCAP)


def test_mesm_10_what_the_lists_leave_out_is_said(tmp_path: Path) -> None:
    """Published: utterances without frames vanished from the lists without a word, in test too."""
    (tmp_path / "train.txt").write_text("u0\nu1\n")
    (tmp_path / "test.txt").write_text("u3\nu9999\n")
    assert ListsSplit(folder=tmp_path).split(IEMOCAP[:4]).notes == (
        "1 listed id matches nothing, such as u9999 (test)",
        "1 utterance is in no list, such as u2",
    )

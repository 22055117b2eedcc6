"""How times, faces, modalities and notes are put into words, the same in the terminal, in reports and in files."""

from __future__ import annotations

from maeum.types import Modality

MODALITY_NAMES: dict[Modality, str] = {"faces": "face", "speech": "voice", "text": "words"}

#: What such predictions can and cannot mean; shown with every report.
MEANING = (
    "These are estimates of the emotion that a face, a voice and words seem to express to others. They do not tell "
    "what a person feels, thinks or intends: people hide, act and differ, between cultures too, and one moment is not "
    "a character. The model learned from acted voices, web pictures and written comments, and is often wrong. Do not "
    "use it to judge people: not for hiring, schooling, policing, insurance or health, and not without the consent of "
    "those who are shown."
)


def clock(seconds: float, *, srt: bool = False) -> str:
    """``1:02.5`` or, for subtitles, ``00:01:02,500``."""
    if srt:
        total = round(max(0.0, seconds) * 1000)
        hours, rest = divmod(total, 3_600_000)
        minutes, rest = divmod(rest, 60_000)
        return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"
    tenths = round(max(0.0, seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{rest // 10:02d}.{rest % 10}"


def describe_face(id: int) -> str:
    """What a face track is called."""
    return f"face {id}"


def shortened(text: str, width: int) -> str:
    """A text in at most so many signs; its middle gives way, as names often differ at their end only.

    >>> shortened("SPEAKER_00", 10), shortened("SPEAKER_00", 8)
    ('SPEAKER_00', 'SPEA…_00')
    """
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def percent(share: float) -> str:
    """A probability or a part in whole percent: ``82%``; never ``0%`` or ``100%``, as nothing here is certain.

    >>> percent(0.824), percent(0.9991), percent(0.003)
    ('82%', '>99%', '<1%')
    """
    shown = f"{share:.0%}"
    return {"0%": "<1%", "100%": ">99%"}.get(shown, shown)

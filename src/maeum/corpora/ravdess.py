"""RAVDESS: 24 actors speak two sentences in eight emotions (Livingstone & Russo 2018)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from maeum.config import Config
from maeum.corpora.base import CORPORA, Corpus, LeftOut, named_files
from maeum.errors import ConfigError
from maeum.labels import canonical
from maeum.types import Recording, Utterance

_EMOTIONS = {"01": "neutral", "02": "calm", "03": "happy", "04": "sad", "05": "angry", "06": "fearful",
             "07": "disgust", "08": "surprised"}  # fmt: skip
_STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
_NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")


class RavdessOptions(Config):
    """How RAVDESS is read.

    transcripts: give the two sentences as text. Off: every emotion speaks the same two sentences, so a text branch
    trained on them learns nothing and is taught to ignore words. dev_actors, test_actors: who is in which part;
    everybody else is in train.
    """

    transcripts: bool = False
    dev_actors: tuple[int, ...] = (17, 18, 19, 20)
    test_actors: tuple[int, ...] = (1, 21, 22, 23, 24)


@CORPORA.register("ravdess")
class Ravdess(Corpus):
    """RAVDESS speech. File names are modality-channel-emotion-intensity-statement-repetition-actor.

    Calm counts as neutral. There is no official split; actors are disjoint between the default parts.
    """

    name = "ravdess"
    title = "RAVDESS, Ryerson Audio-Visual Database of Emotional Speech and Song (speech, audio)"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "Livingstone, S. R., Russo, F. A. (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS). PLoS ONE 13(5): e0196391."
    )
    modalities = ("speech",)
    counts: ClassVar[Mapping[str, int]] = {"all": 1440}
    Options = RavdessOptions

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`; a song, a video or a name outside the scheme is left out."""
        options = self.options
        assert isinstance(options, RavdessOptions)
        if both := set(options.dev_actors) & set(options.test_actors):
            raise ConfigError(f"actors {sorted(both)} are in dev and in test", item="options of the corpus ravdess")
        for path in named_files(source, "*-*", "03-01-05-01-02-01-12.wav", (".wav", ".flac", ".mp4")):
            match = _NAME.fullmatch(path.stem)
            if not match or match[3] not in _EMOTIONS or match[5] not in _STATEMENTS:
                yield LeftOut(path.name, "the name does not follow the scheme of RAVDESS")
                continue
            if match[1] != "03":
                yield LeftOut(path.name, "a video; only the audio-only files are read")
                continue
            if match[2] != "01":
                yield LeftOut(path.name, "a song, not speech")
                continue
            actor = int(match[7])
            part = "dev" if actor in options.dev_actors else "test" if actor in options.test_actors else "train"
            yield Utterance(
                id=path.stem,
                recording=Recording(id=path.stem, audio=path),
                speaker=f"ravdess-{match[7]}",
                text=_STATEMENTS[match[5]] if options.transcripts else None,
                label=canonical(_EMOTIONS[match[3]]),
                part=part,
            )

"""RAVDESS: 24 actors speak and sing two sentences in eight emotions (Livingstone & Russo 2018)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from maeum.config import Config
from maeum.corpora.base import CORPORA, Corpus, LeftOut, named_files, unreadable_reason
from maeum.corpora.targets import Target
from maeum.errors import ConfigError
from maeum.labels import EMOTIONS, canonical
from maeum.types import Modality, Recording, Utterance

_EMOTIONS = {"01": "neutral", "02": "calm", "03": "happy", "04": "sad", "05": "angry", "06": "fearful",
             "07": "disgust", "08": "surprised"}  # fmt: skip
_STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
_FILES = {"01": "audio-visual", "02": "video-only", "03": "audio-only"}
_VOICES = {"01": "speech", "02": "song"}
#: Performances of the 24 actors who speak and of the 23 who sing; calm counts as neutral.
_PUBLISHED = {
    "speech": {"neutral": 288, **dict.fromkeys(("anger", "disgust", "fear", "happiness", "sadness", "surprise"), 192)},
    "song": {"neutral": 276, **dict.fromkeys(("anger", "fear", "happiness", "sadness"), 184)},
}
_NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")


class RavdessOptions(Config):
    """How RAVDESS is read."""

    # Settings that came later are kept only where they are not the default, so that earlier stores stay valid.
    files: Literal["audio-only", "audio-visual", "video-only"] = Field(
        default="audio-only", exclude_if=lambda files: files == "audio-only"
    )
    """Which of the three recordings of each performance is the utterance: sound (03-), picture (02-) or both (01-). The
    others are left out, so that no performance counts twice."""
    voice: Literal["speech", "song", "both"] = Field(default="speech", exclude_if=lambda voice: voice == "speech")
    """Which performances are read: spoken, sung, or both."""
    transcripts: bool = False
    """Give the two sentences as text. Off by default: every emotion has the same two sentences, so a text branch
    trained on them learns nothing and is taught to ignore text."""
    dev_actors: tuple[int, ...] = (17, 18, 19, 20)
    """Actors of the part dev; everybody who is in neither list is in train."""
    test_actors: tuple[int, ...] = (1, 21, 22, 23, 24)
    """Actors of the part test."""


@CORPORA.register("ravdess")
class Ravdess(Corpus):
    """RAVDESS. File names are modality-channel-emotion-intensity-statement-repetition-actor, in any folders.

    Calm counts as neutral. There is no official split; actors are disjoint between the default parts.
    """

    name = "ravdess"
    title = "RAVDESS, Ryerson Audio-Visual Database of Emotional Speech and Song"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "Livingstone, S. R., Russo, F. A. (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS). PLoS ONE 13(5): e0196391."
    )
    targets: ClassVar[Mapping[str, Target]] = {"emotion": Target(labels=EMOTIONS)}
    Options = RavdessOptions

    @property
    def _options(self) -> RavdessOptions:
        assert isinstance(self.options, RavdessOptions)
        return self.options

    @property
    def modalities(self) -> tuple[Modality, ...]:  # type: ignore[override]
        """What the files of the options hold, and words where they ask for them."""
        held: dict[str, tuple[Modality, ...]] = {
            "audio-only": ("speech",), "audio-visual": ("faces", "speech"), "video-only": ("faces",),
        }  # fmt: skip
        return (*held[self._options.files], "text") if self._options.transcripts else held[self._options.files]

    @property
    def faces(self) -> Literal["detect", "none"]:  # type: ignore[override]
        """Pictures have to be searched where there are any."""
        return "none" if self._options.files == "audio-only" else "detect"

    @property
    def label_counts(self) -> Mapping[str, int]:  # type: ignore[override]
        """Of the performances that the options ask for."""
        voices = [voice for voice in _PUBLISHED if self._options.voice in (voice, "both")]
        return {name: sum(_PUBLISHED[voice].get(name, 0) for voice in voices) for name in EMOTIONS}

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`; what the options do not ask for and names outside the scheme are left out.

        Of a file that lies in several folders, as in some copies, the first is taken.
        """
        options = self._options
        seen: set[str] = set()
        if both := set(options.dev_actors) & set(options.test_actors):
            raise ConfigError(f"actors {sorted(both)} are in dev and in test", item="options of the corpus ravdess")
        for path in named_files(source, "*-*", "03-01-05-01-02-01-12.wav", (".wav", ".flac", ".mp4")):
            match = _NAME.fullmatch(path.stem)
            codes = ((1, _FILES), (2, _VOICES), (3, _EMOTIONS), (5, _STATEMENTS))
            if not match or any(match[place] not in known for place, known in codes):
                yield LeftOut(path.name, "the name does not follow the scheme of RAVDESS")
                continue
            files, voice = _FILES[match[1]], _VOICES[match[2]]
            if files != options.files:
                what = "a sound file" if files == "audio-only" else "a video"
                yield LeftOut(path.name, f"{what}; only the {options.files} files are read")
                continue
            if options.voice not in (voice, "both"):
                yield LeftOut(path.name, "a song, not speech" if voice == "song" else "speech, not a song")
                continue
            if path.stem in seen:
                yield LeftOut(str(path.relative_to(source)), "another file of this name is read")
                continue
            seen.add(path.stem)
            if problem := unreadable_reason(path):
                yield LeftOut(path.name, f"the file {problem}")
                continue
            actor = int(match[7])
            part = "dev" if actor in options.dev_actors else "test" if actor in options.test_actors else "train"
            yield Utterance(
                id=path.stem,
                recording=Recording(
                    id=path.stem,
                    video=None if files == "audio-only" else path,
                    audio=None if files == "video-only" else path,
                ),
                speaker=f"ravdess-{match[7]}",
                text=_STATEMENTS[match[5]] if options.transcripts else None,
                label=canonical(_EMOTIONS[match[3]]),
                part=part,
            )

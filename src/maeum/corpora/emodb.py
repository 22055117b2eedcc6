"""EmoDB: ten Berlin actors speak ten German sentences in seven emotions (Burkhardt et al. 2005)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from maeum.config import Config
from maeum.corpora.base import CORPORA, Corpus, LeftOut, named_files
from maeum.errors import ConfigError
from maeum.types import Modality, Recording, Utterance

_EMOTIONS = {"W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness",
             "N": "neutral"}  # fmt: skip
_SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
_NAME = re.compile(r"(\d\d)([ab]\d\d)([A-Z])([a-z]?)")


class EmodbOptions(Config):
    """How EmoDB is read."""

    transcripts: bool = False
    """Give the sentence as text. Off by default: every emotion has the same ten sentences, in German."""
    dev_speakers: tuple[int, ...] = (12, 13)
    """Speakers of the part dev, by default a man and a woman; everybody who is in neither list is in train."""
    test_speakers: tuple[int, ...] = (15, 16)
    """Speakers of the part test, by default a man and a woman."""


@CORPORA.register("emodb")
class Emodb(Corpus):
    """EmoDB. File names are speaker (2), sentence (3), emotion letter, version.

    Boredom is outside our label set and left out. There is no official split; speakers are disjoint between the default
    parts. Men: 03, 10, 11, 12, 15; women: 08, 09, 13, 14, 16.
    """

    name = "emodb"
    title = "EmoDB, Berlin Database of Emotional Speech"
    licence = "free to use; cite Burkhardt et al. 2005"
    citation = (
        "Burkhardt, F., Paeschke, A., Rolfes, M., Sendlmeier, W., Weiss, B. (2005). A database of German emotional "
        "speech. Interspeech 2005."
    )
    counts: ClassVar[Mapping[str, int]] = {"all": 535}
    Options = EmodbOptions

    @property
    def modalities(self) -> tuple[Modality, ...]:  # type: ignore[override]
        """Speech, and words where the options ask for them."""
        assert isinstance(self.options, EmodbOptions)
        return ("speech", "text") if self.options.transcripts else ("speech",)

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`."""
        options = self.options
        assert isinstance(options, EmodbOptions)
        if both := set(options.dev_speakers) & set(options.test_speakers):
            raise ConfigError(f"speakers {sorted(both)} are in dev and in test", item="options of the corpus emodb")
        for path in named_files(source, "[0-9]*", "03a01Wa.wav", (".wav", ".flac")):
            match = _NAME.fullmatch(path.stem)
            if not match or match[3] not in _EMOTIONS or match[2] not in _SENTENCES:
                yield LeftOut(path.name, "the name does not follow the scheme of EmoDB")
                continue
            speaker = int(match[1])
            part = "dev" if speaker in options.dev_speakers else "test" if speaker in options.test_speakers else "train"
            emotion = _EMOTIONS[match[3]]
            if emotion not in self.label_set.names:
                yield LeftOut(path.stem, f"{emotion} is outside the label set", part)
                continue
            yield Utterance(
                id=path.stem,
                recording=Recording(id=path.stem, audio=path),
                speaker=f"emodb-{match[1]}",
                text=_SENTENCES[match[2]] if options.transcripts else None,
                label=emotion,
                part=part,
            )

"""Speech recognition: the words of a voice, when no transcript gives them. Recognisers are a table.

Siblings register themselves; installed packages add theirs by an entry point in the group ``maeum.asr``.
"""

from maeum.asr.base import ASR, RecognizedSpeech, SpeechRecognizer, speech_recognizer
from maeum.registry import import_siblings

__all__ = ["ASR", "RecognizedSpeech", "SpeechRecognizer", "speech_recognizer"]

import_siblings(__name__, __path__)

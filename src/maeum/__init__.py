"""maeum (마음, heart and mind): emotion from faces, voice and words.

import maeum

recognizer = maeum.load()
prediction = recognizer.predict(text="What a lovely surprise!")
timeline = recognizer.analyse("clip.mp4")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maeum.analysis.recognizer import Recognizer, load
    from maeum.analysis.writers import write_timeline
    from maeum.errors import MaeumError
    from maeum.types import Prediction, Segment, Timeline

__version__ = "0.1.0"

#: Imported when they are first used, so that ``import maeum`` is quick.
_WHERE = {
    "load": "maeum.analysis.recognizer",
    "Recognizer": "maeum.analysis.recognizer",
    "write_timeline": "maeum.analysis.writers",
    "MaeumError": "maeum.errors",
    "Prediction": "maeum.types",
    "Segment": "maeum.types",
    "Timeline": "maeum.types",
}

__all__ = ["MaeumError", "Prediction", "Recognizer", "Segment", "Timeline", "__version__", "load", "write_timeline"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'maeum' has no attribute {name!r}")
    thing = getattr(import_module(_WHERE[name]), name)
    globals()[name] = thing
    return thing


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])

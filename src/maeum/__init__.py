"""maeum (마음, heart and mind): emotion from faces, voice and words."""

from __future__ import annotations

__version__ = "0.1.0"

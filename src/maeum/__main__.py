"""``python -m maeum`` is ``maeum``."""

from __future__ import annotations

from maeum.cli import main

if __name__ == "__main__":
    main()

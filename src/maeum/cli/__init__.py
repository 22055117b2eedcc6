"""The command line: one file a command, or a family of commands."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; see `maeum.cli.app`."""
    try:
        from maeum.cli.app import main as run  # takes a moment, in which Ctrl-C may come

        run()
    except KeyboardInterrupt:
        print("maeum: stopped.", file=sys.stderr)
        raise SystemExit(130) from None


__all__ = ["main"]

"""The command line: one file a command, or a family of commands."""

from __future__ import annotations

from maeum.cli.app import main

__all__ = ["main"]

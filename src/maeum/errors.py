"""Errors that a user can act on, and one warning: each names the item, says what is wrong and what to do about it."""

from __future__ import annotations


class MaeumError(Exception):
    """Base of every error that maeum raises on purpose.

    Args:
        problem: what is wrong, with the value that is wrong.
        item: the thing it is about, such as a path, an utterance id or a setting.
        remedy: what the user can do about it.
    """

    def __init__(self, problem: str, *, item: object | None = None, remedy: str | None = None) -> None:
        self.problem = problem
        self.item = None if item is None else str(item)
        self.remedy = remedy
        message = problem if self.item is None else f"{self.item}: {problem}"
        if remedy:
            message = f"{message.rstrip('.')}. {remedy}"
        super().__init__(message)


class MediaError(MaeumError):
    """A media file, or one of its streams, cannot be used."""


class TranscriptError(MaeumError):
    """A sidecar transcript cannot be read."""


class CorpusError(MaeumError):
    """A corpus is not laid out as its authors distribute it, or an item of it is inconsistent."""


class StoreError(MaeumError):
    """A prepared corpus on disk is missing, damaged or made with other settings."""


class ConfigError(MaeumError):
    """A setting is unknown or has a value that cannot be used."""


class ModelError(MaeumError):
    """A model cannot be found, loaded or used with what it was given."""


class InputError(MaeumError):
    """An argument given to the Python interface cannot be used."""


class OutputError(MaeumError):
    """A result cannot be written."""


class EvaluationError(MaeumError):
    """A score is undefined on the items it was asked for."""


class RenamedSettingWarning(FutureWarning):
    """A setting was given by a name that it no longer has, or is no longer needed."""

"""Text-to-speech by any program of the command line that writes a WAV, in voices of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import IO, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from maeum.config import Config
from maeum.errors import MediaError, ModelError
from maeum.media.audio import read_audio
from maeum.wording import alternatives, first_line

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_KNOWN = ("text_file", "text", "voice", "wav")
#: What every voice says before the work begins, to see that it is there.
_TRIAL = "one two three"


class CommandTTSConfig(Config):
    """A program that says a text and writes a WAV, such as flite or espeak-ng, in voices of its own."""

    kind: Literal["command"] = "command"
    """Which text-to-speech: this one."""
    command: tuple[str, ...] = Field(min_length=1)
    """The program and its arguments, one by one; no shell reads them. ``{text_file}`` is a file that holds the words,
    ``{text}`` the words themselves (better a file: no text can be taken for an option), ``{voice}`` one of ``voices``
    and ``{wav}`` the file to write, as in ``[flite, -voice, "{voice}", -f, "{text_file}", -o, "{wav}"]``."""
    voices: tuple[str, ...] = ()
    """Names of the program's voices, of which one is drawn for each utterance; none for a program that has one."""
    timeout_s: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds that the program may take for an utterance."""

    @model_validator(mode="after")
    def _placeholders_are_sound(self) -> CommandTTSConfig:
        found = {name for argument in self.command for name in _PLACEHOLDER.findall(argument)}
        if unknown := sorted(found - set(_KNOWN)):
            known = alternatives(f"{{{name}}}" for name in _KNOWN)
            raise ValueError(f"the command has an unknown {{{unknown[0]}}}: there is {known}")
        if _PLACEHOLDER.search(self.command[0]) or not self.command[0]:
            raise ValueError("the command has to begin with the name of a program")
        if not found & {"text", "text_file"}:
            raise ValueError("the command says no words: give it {text_file}, or {text}")
        if "wav" not in found:
            raise ValueError("the command does not say where to write: give it {wav}")
        if "voice" in found and not self.voices:
            raise ValueError("the command has {voice}, but voices names none")
        if "voice" not in found and self.voices:
            raise ValueError("voices are named, but the command has no {voice}")
        if len(set(self.voices)) < len(self.voices):
            raise ValueError("voices names one twice")
        return self


class CommandTTS:
    """Text-to-speech by a program; a `maeum.models.synthesis.tts.TTS` that imitates nobody.

    Every voice says a few words at first, so that a wrong name is an error before the work begins: programs such as
    flite take their default voice for one that they do not know.

    Raises:
        ModelError: when the program is not installed, a voice cannot speak, or two voices sound the same.
    """

    def __init__(self, config: CommandTTSConfig) -> None:
        self.config = config
        self.program = Path(config.command[0]).name
        if shutil.which(config.command[0]) is None:
            raise ModelError("is not installed", item=config.command[0],
                             remedy="Install it, or write its whole path into tts.command.")  # fmt: skip
        alike: dict[bytes, list[str]] = defaultdict(list)
        for voice in config.voices:
            alike[self._say(_TRIAL, voice).numpy().tobytes()].append(voice)
        for voices in alike.values():
            if len(voices) > 1:
                raise ModelError(f"its voices {' and '.join(voices[:2])} sound the same", item=self.program,
                                 remedy="A name may be wrong: many programs take another voice instead.")  # fmt: skip

    def own_voice(self, seed: int) -> str:
        """See `TTS`: program and voice, such as ``flite slt``."""
        voice = self._voice(seed)
        return self.program if voice is None else f"{self.program} {voice}"

    def speak(self, text: str, reference: Tensor, seed: int) -> Tensor:
        """See `TTS`; the reference is not used.

        Raises:
            ModelError: when the program fails, takes too long, or writes no sound file.
        """
        return self._say(text, self._voice(seed))

    def _voice(self, seed: int) -> str | None:
        return self.config.voices[seed % len(self.config.voices)] if self.config.voices else None

    def _say(self, text: str, voice: str | None) -> Tensor:
        text = " ".join(text.replace("\0", " ").split())
        with tempfile.TemporaryDirectory(prefix="maeum-tts-") as name:
            folder = Path(name)
            text_file, wav = folder / "text.txt", folder / "speech.wav"
            text_file.write_text(text + "\n", encoding="utf-8", errors="replace")
            # A word that begins with a sign could be an option; with a blank before it, none is.
            words = f" {text}" if text.startswith(("-", "/", "@", "+")) else text
            values = {"text_file": str(text_file), "text": words, "voice": voice or "", "wav": str(wav)}
            command = [_PLACEHOLDER.sub(lambda m: values[m[1]], argument) for argument in self.config.command]
            self._run(command, folder / "errors.txt")
            if not wav.is_file():
                raise ModelError("wrote no file", item=self._named(voice), remedy=_REMEDY)
            if wav.stat().st_size == 0:
                raise ModelError("wrote an empty file", item=self._named(voice), remedy=_REMEDY)
            try:
                samples = read_audio(wav).samples
            except MediaError as error:
                raise ModelError(f"wrote no sound file: {error.problem}", item=self._named(voice),
                                 remedy=_REMEDY) from error  # fmt: skip
        return torch.from_numpy(samples).clamp(-1, 1)

    def _run(self, command: list[str], errors: Path) -> None:
        """Run it to its end, or for as long as it may take; then it and those that it started are ended."""
        with errors.open("w+b") as written:
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=written, start_new_session=True
                )
            except (OSError, ValueError) as error:
                raise ModelError(f"cannot be started: {error}", item=self.program, remedy=_REMEDY) from error
            try:
                code = process.wait(self.config.timeout_s)
            except subprocess.TimeoutExpired as error:
                raise ModelError(f"took more than {self.config.timeout_s:g} s", item=self.program,
                                 remedy="Try the command by hand, or raise tts.timeout_s.") from error  # fmt: skip
            finally:
                _end(process)
            if code:
                reason = first_line(_beginning(written), f"without a word, exit status {code}")
                raise ModelError(f"failed: {reason}", item=" ".join(command)[:_LONGEST_COMMAND], remedy=_REMEDY)

    def _named(self, voice: str | None) -> str:
        return self.program if voice is None else f"{self.program}, voice {voice}"


_REMEDY = "Try the command of tts.command by hand."
#: Characters of a command that an error shows, and bytes of what it complains about that are read.
_LONGEST_COMMAND, _MOST_ERRORS = 200, 10_000


def _beginning(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_MOST_ERRORS).decode("utf-8", "replace")


def _end(process: subprocess.Popen[Any]) -> None:
    """End a program and those that it started; where it ended by itself, what it left in the background goes on."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


__all__ = ["CommandTTS", "CommandTTSConfig"]

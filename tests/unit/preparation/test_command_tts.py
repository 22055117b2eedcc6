"""Programs that say a text: a made-up one in every way that goes wrong, and real ones where they are installed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maeum.errors import ConfigError, ModelError
from maeum.preparation.command_tts import CommandTTS, CommandTTSConfig

#: A tone whose pitch is the voice's and whose length is the text's, at 22,050 Hz in stereo.
PROGRAM = """
import math, struct, sys, time, wave
how, voice, text, wav = sys.argv[1:]
if text.endswith(".txt"):
    text = open(text, encoding="utf-8").read()
open(wav + ".log", "w", encoding="utf-8").write(text)
if voice == "unknown":
    sys.exit("no such voice\\nand so on")
if how == "silently-wrong":
    sys.exit(3)
if how == "hangs":
    time.sleep(60)
if how == "nothing":
    sys.exit()
if how == "empty":
    open(wav, "w").close()
    sys.exit()
if how == "text":
    open(wav, "w").write("this is no sound")
    sys.exit()
with wave.open(wav, "wb") as file:
    file.setnchannels(2)
    file.setsampwidth(2)
    file.setframerate(22050)
    for i in range(0 if how == "header" else 2205 * len(text)):
        sample = round(9000 * math.sin(2 * math.pi * 100 * (1 + int(voice)) * i / 22050))
        file.writeframes(struct.pack("<hh", sample, sample))
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "speaker.py"
    path.write_text(PROGRAM)
    return path


def config(program: Path, how: str = "well", text: str = "{text_file}", **changes: Any) -> CommandTTSConfig:
    command = [sys.executable, str(program), how, "{voice}", text, "{wav}"]
    return CommandTTSConfig.parse({"command": command, "voices": ["1", "2", "3"], **changes})


NOBODY = torch.zeros(0)


def test_it_speaks_at_16_khz_in_the_voice_of_the_seed(program: Path) -> None:
    tts = CommandTTS(config(program))
    waves = [tts.speak("four", NOBODY, seed) for seed in range(4)]
    for wave in waves:
        assert wave.dtype == torch.float32
        assert wave.shape == (8000,)  # 5 signs with the end of the line
        assert 0.25 < wave.abs().max() < 0.3
    assert torch.equal(waves[0], waves[3])
    assert not torch.equal(waves[0], waves[1])
    assert [tts.own_voice(seed).split()[-1] for seed in range(4)] == ["1", "2", "3", "1"]
    pitch = np.abs(np.fft.rfft(waves[1].numpy())).argmax() * 16000 / 8000
    assert pitch == pytest.approx(300, abs=4)


@pytest.mark.parametrize("text", ["-v --help", 'say "it\'s" $HOME `ls` ; rm {wav}', "süß 😀 {voice}", "two\nlines\0"])
@pytest.mark.parametrize("way", ["{text_file}", "{text}"])
def test_no_text_is_an_option_or_a_command(program: Path, tmp_path: Path, text: str, way: str) -> None:
    tts = CommandTTS(config(program, text=way, voices=["1"]))
    kept: list[str] = []
    run = tts._run

    def keep(command: list[str], errors: Path) -> None:
        run(command, errors)
        kept.append(Path(command[-1] + ".log").read_text(encoding="utf-8"))
        assert way == "{text_file}" or not command[-2].startswith("-")

    tts._run = keep  # type: ignore[method-assign]
    assert len(tts.speak(text, NOBODY, 0))
    assert kept[0].strip() == " ".join(text.replace("\0", " ").split())


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("silently-wrong", "failed: without a word, exit status 3"),
        ("nothing", "wrote no file"),
        ("empty", "wrote an empty file"),
        ("text", "wrote no sound file"),
        ("hangs", "took more than 0.5 s"),
    ],
)
def test_a_program_that_goes_wrong_is_an_error_that_says_how(program: Path, how: str, problem: str) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match=problem) as error:
        CommandTTS(config(program, how, timeout_s=0.5 if how == "hangs" else 60))
    assert time.monotonic() - started < 20
    assert error.value.item is not None
    assert "tts.command" in str(error.value) or "timeout_s" in str(error.value)


def test_a_program_that_hangs_leaves_nothing_running(program: Path, tmp_path: Path) -> None:
    script = tmp_path / "starts.sh"
    script.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {tmp_path / 'pid'}\nwait\n")
    script.chmod(0o755)
    tts = CommandTTS(CommandTTSConfig(command=(str(script), "{text}", "{wav}"), timeout_s=0.5))
    with pytest.raises(ModelError, match="took more"):
        tts.speak("hello", NOBODY, 0)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(pid):
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_the_first_line_of_what_it_complains_about(program: Path) -> None:
    with pytest.raises(ModelError, match="failed: no such voice\\. Try the command"):
        CommandTTS(config(program, voices=["1", "unknown"]))


def test_a_file_without_samples_is_no_sound_file(program: Path) -> None:
    with pytest.raises(ModelError, match="wrote no sound file"):
        CommandTTS(config(program, "header"))


def test_two_names_of_one_voice_are_refused(program: Path) -> None:
    with pytest.raises(ModelError, match="voices 1 and 01 sound the same"):
        CommandTTS(config(program, voices=["1", "01", "2"]))


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no-such-program: is not installed\. Install it"):
        CommandTTS(CommandTTSConfig(command=("no-such-program", "{text_file}", "{wav}")))
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    with pytest.raises(ModelError, match="cannot be started"):
        CommandTTS(CommandTTSConfig(command=(str(broken), "{text_file}", "{wav}"))).speak("hello", NOBODY, 0)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"command": []}, "at least 1 entry"),
        ({"command": ["x", "{wav}"]}, "says no words"),
        ({"command": ["x", "{text}"]}, "where to write"),
        ({"command": ["x", "{txt}", "{wav}"]}, "unknown {txt}: there is {text_file}, {text}, {voice} or {wav}"),
        ({"command": ["{text}", "{wav}"]}, "begin with the name of a program"),
        ({"command": ["", "{text}", "{wav}"]}, "begin with the name of a program"),
        ({"command": ["x", "{voice}", "{text}", "{wav}"]}, "voices names none"),
        ({"command": ["x", "{text}", "{wav}"], "voices": ["a"]}, "no {voice}"),
        ({"command": ["x", "{voice}", "{text}", "{wav}"], "voices": ["a", "a"]}, "one twice"),
        ({"command": ["x", "{text}", "{wav}"], "timeout_s": 0}, "timeout_s"),
        ({"command": "flite {text} {wav}"}, "a list is expected"),
    ],
)
def test_a_command_that_cannot_work_is_refused_with_the_settings(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        CommandTTSConfig.parse(settings)
    assert problem in str(error.value)


REAL = {
    "flite": (["flite", "-voice", "{voice}", "-f", "{text_file}", "-o", "{wav}"], ["kal16", "awb", "rms", "slt"],
              "Kids are talking by the door"),
    "espeak-ng": (["espeak-ng", "-v", "{voice}", "-f", "{text_file}", "-w", "{wav}"], ["de", "de+f2", "de+m3"],
                  "Das schwarze Stück Papier befindet sich da oben."),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_programs(name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    command, voices, text = REAL[name]
    tts = CommandTTS(CommandTTSConfig.parse({"command": command, "voices": voices}))
    for seed, voice in enumerate(voices):
        wave = tts.speak(text, NOBODY, seed)
        assert tts.own_voice(seed) == f"{name} {voice}"
        assert 1.0 < len(wave) / 16000 < 6.0
        assert 0.1 < wave.abs().max() <= 1.0
        assert torch.isfinite(wave).all()
        assert torch.equal(wave, tts.speak(text, NOBODY, seed)), "the same again"
    assert len(tts.speak("-v -o help", NOBODY, 0)) > 8000


def test_a_voice_that_flite_does_not_know_is_noticed() -> None:
    """It takes its default voice, kal, and says nothing."""
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed")
    command = REAL["flite"][0]
    with pytest.raises(ModelError, match="kal and slit sound the same"):
        CommandTTS(CommandTTSConfig.parse({"command": command, "voices": ["kal", "slit", "awb"]}))

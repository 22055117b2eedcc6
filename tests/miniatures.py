"""Miniatures of corpora, laid out as their authors distribute them, with media made on the spot; see `conftest`."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
import torch
from PIL import Image

from maeum.inputs.settings import InputSettings
from maeum.labels import LabelSet
from maeum.models.card import ModelCard
from maeum.models.encoders.tokenizer import train_tokenizer
from maeum.models.mmer import MMER, MMERConfig
from maeum.models.pretrained import save_pretrained
from maeum.preparation.prepare import PrepareConfig, prepare


class Turn(NamedTuple):
    """A turn: the end of its name, when, and what the annotators and the transcript say of it."""

    name: str
    start_s: float
    end_s: float
    label: str = "neu"
    scales: tuple[float, float, float] = (2.5, 2.5, 2.5)
    words: str | None = "Excuse me."


Dialogues = Mapping[str, Sequence[Turn]]

#: What a miniature holds unless asked otherwise: every kind of label, both speakers, turns that overlap.
DIALOGUES: Dialogues = {
    "Ses01F_impro01": (
        Turn("F000", 0.5, 2.25, "neu", (2.5, 2.5, 2.5), "Excuse me."),
        Turn("F001", 3.0, 4.5, "exc", (4.3333, 4.0, 3.6667), "It is 5:30: really: [LAUGHTER]"),
        Turn("M000", 2.0, 3.25, "fru", (2.0, 3.5, 3.0), "Next."),
        Turn("M001", 5.0, 6.5, "xxx", (3.0, 3.0, 2.0), "Yes?"),
    ),
    "Ses01M_script01_1": (
        Turn("F000", 0.25, 1.75, "hap", (4.5, 3.0, 3.0), "What are you doing?"),
        Turn("M000", 1.5, 3.0, "sad", (1.5, 1.5, 2.0), "Nothing."),
    ),
    "Ses04F_impro02": (Turn("M000", 1.0, 2.5, "ang", (1.5, 4.5, 4.5), "No!"),),
    "Ses05M_script03_2": (
        Turn("M000", 1.0, 2.5, "sur", (3.5, 4.0, 3.0), "Oh."),
        Turn("F000", 3.0, 4.5, "oth", (5.5, 3.0, 3.0), "Well."),
    ),
}


def write_avi(path: Path, length_s: float, *, fps: int = 10, size: tuple[int, int] = (192, 96)) -> None:
    """DivX: the left half is red, the right half blue, and both get brighter, 12 levels a second from 60 on."""
    width, height = size
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("mpeg4", rate=fps, options={"qscale": "2", "g": "30"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 2_000_000
        stream.codec_context.codec_tag = "DIVX"
        for number in range(round(length_s * fps)):
            pixels = np.zeros((height, width, 3), np.uint8)
            level = min(60 + round(12 * number / fps), 255)
            pixels[:, : width // 2, 0] = level
            pixels[:, width // 2 :, 2] = level
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def write_wav(path: Path, length_s: float, *hz: float) -> None:
    """16 kHz, a sine for each channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = 16_000
    time_s = np.arange(round(length_s * rate)) / rate
    sound = np.stack([np.round(12_000 * np.sin(2 * np.pi * f * time_s)) for f in hz], 1).astype(np.int16)
    with av.open(str(path), "w") as out:
        layout = "stereo" if len(hz) == 2 else "mono"
        stream: Any = out.add_stream("pcm_s16le", rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def evaluation(dialogue: str, turns: Sequence[Turn]) -> str:
    """An EmoEvaluation file, to the letter."""
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for turn in turns:
        scales = ", ".join(f"{value:.4f}" for value in turn.scales)
        lines += [
            f"[{turn.start_s:.4f} - {turn.end_s:.4f}]\t{dialogue}_{turn.name}\t{turn.label}\t[{scales}]",
            "C-E2:\tNeutral;\t()",
            "C-F1:\tNeutral;\t(curious)",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "A-M1:\tval ; act ; dom  ;\t()",
            "",
        ]
    return "\n".join(lines)


def transcript(dialogue: str, turns: Sequence[Turn]) -> str:
    """A transcript, to the letter."""
    return "".join(
        f"{dialogue}_{turn.name} [{turn.start_s:08.4f}-{turn.end_s:08.4f}]: {turn.words}\n"
        for turn in sorted(turns, key=lambda turn: turn.start_s)
        if turn.words is not None
    )


def write_iemocap(folder: Path, dialogues: Dialogues = DIALOGUES, *, media: bool = True) -> Path:
    """A source for `maeum prepare iemocap`.

    In the dialogue's sound the left person is 300 Hz and the right one 1200 Hz; a turn's own sound is 500 or 2000 Hz.
    """
    for number in range(1, 6):
        (folder / f"Session{number}" / "dialog/EmoEvaluation/Categorical").mkdir(parents=True)
    for dialogue, turns in dialogues.items():
        session = folder / f"Session{int(dialogue[3:5])}"
        (session / "dialog/transcriptions").mkdir(parents=True, exist_ok=True)
        (session / f"dialog/EmoEvaluation/{dialogue}.txt").write_text(evaluation(dialogue, turns))
        (session / f"dialog/transcriptions/{dialogue}.txt").write_text(transcript(dialogue, turns))
        if media:
            length_s = max(turn.end_s for turn in turns) + 1
            write_avi(session / f"dialog/avi/DivX/{dialogue}.avi", length_s)
            write_wav(session / f"dialog/wav/{dialogue}.wav", length_s, 300, 1200)
            for turn in turns:
                hz = 500 if turn.name[0] == dialogue[5] else 2000
                path = session / f"sentences/wav/{dialogue}/{dialogue}_{turn.name}.wav"
                write_wav(path, turn.end_s - turn.start_s, hz)
    return folder


def prepare_sessions(
    folder: Path,
    words: Mapping[str, str],
    sessions: Sequence[int] = (1, 2, 3, 4, 5),
    *,
    rounds: int = 2,
    numbered: bool = True,
) -> Path:
    """A prepared IEMOCAP with the sound itself: in each session a dialogue in which both say the words of every label.

    Args:
        folder: where source and store are made.
        words: label -> what is said with it.
        sessions: which there are.
        rounds: how often each label is there.
        numbered: say the session's number behind the words.
    """
    said = [*words.items()] * rounds
    dialogues = {
        f"Ses0{session}F_impro01": [
            Turn(
                f"{'FM'[i % 2]}{i:03d}",
                2 * i,
                2 * i + 0.8 + 0.2 * session,
                label,
                words=f"{text} {session}" if numbered else text,
            )
            for i, (label, text) in enumerate(said)
        ]
        for session in sessions
    }
    write_iemocap(folder / "source", dialogues)
    prepare("iemocap", folder / "source", folder / "store", PrepareConfig(wave=True))
    return folder / "store"


def save_spelling_mmer(
    folder: Path, labels: Sequence[str], speech: Mapping[str, Any], texts: Sequence[str], sound: str = "mel_chunks"
) -> Path:
    """An MMER with random weights that hears an A in every sound; ``speech`` are the settings of its encoder."""
    torch.manual_seed(0)
    sizes = {"labels": len(labels), "dim": 8, "heads": 2, "feedforward": 12, "characters": ("", " ", "A", "B")}
    text = {"kind": "small", "vocabulary": 60, "width": 8}
    model = MMER(MMERConfig.parse({**sizes, "speech": speech, "text": text}))
    assert model.ctc_head is not None
    with torch.no_grad():
        model.ctc_head.weight.zero_()
        model.ctc_head.bias.copy_(torch.tensor([0.0, 0.0, 5.0, 0.0]))
    card = ModelCard(name="mmer", title="mmer", licence="none", non_commercial=True, parameters=1,
                     modalities=("speech", "text"))  # fmt: skip
    save_pretrained(folder / "mmer", kind="mmer", model=model, label_set=LabelSet(tuple(labels)), card=card,
                    tokenizer=train_tokenizer(list(texts), 60), settings=InputSettings(sound=sound))  # fmt: skip
    return folder / "mmer"


@pytest.fixture(scope="session")
def make_iemocap() -> Callable[..., Path]:
    """`write_iemocap`."""
    return write_iemocap


@pytest.fixture(scope="session")
def make_turn() -> type[Turn]:
    """`Turn`."""
    return Turn


@pytest.fixture(scope="session")
def iemocap_dialogues() -> Dialogues:
    """`DIALOGUES`."""
    return DIALOGUES


#: Of a miniature MELD: part -> its lines as (dialogue, utterance, words, speaker, emotion, sentiment, start, end).
MELD_LINES: Mapping[str, Sequence[tuple[int, int, str, str, str, str, str, str]]] = {
    "train": (
        (0, 0, "Oh my God, he\u2019s lost it.", "Phoebe", "sadness", "negative", "00:20:57,256", "00:21:00,049"),
        (0, 1, "What?", "Monica", "surprise", "negative", "00:21:01,927", "00:21:03,261"),
        (53, 0, "Hi!", "Joey", "joy", "positive", "00:20:42,741", "00:20:45,159"),
        (125, 3, "Oh, no-no-no, see, \u201c17\u201d minutes.",
         "Ross", "neutral", "neutral", "00:02:42,287", "00:02:48,021"),
    ),
    "dev": (
        (52, 2, "Come on in.", "Chandler", "neutral", "neutral", "00:20:42,741", "00:20:45,159"),
        (110, 7, "Did they tell you anything?", "Phoebe", "neutral", "neutral", "00:07:11,764", "00:07:13,890"),
    ),
    "test": (
        (0, 0, "Why do all you\u2019re coffee mugs have numbers?",
         "Mark", "surprise", "positive", "0:18:05,209", "0:18:09,1"),
        (0, 1, "Oh. That\u2019s so Monica can keep track.",
         "Rachel", "disgust", "negative", "00:19:27,999", "00:19:10,1"),
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def make_meld(make_media: Callable[..., Path], make_sine: Callable[..., Any]) -> Callable[..., Path]:
    """A miniature MELD, made at a given folder as its authors distribute it, with the damage that they distribute.

    The clip of train's dialogue 125 is cut short, dev's dialogue 110 lacks one, train's dialogue 53 and dev's dialogue
    52 have the same, dev and test hold clips without a line; tables are in Windows-1252, as copies through Excel are.
    """

    def clip(path: Path, number: int, length_s: float) -> None:
        level = 60 + 20 * number
        frames = [np.full((64, 96, 3), level, np.uint8)] * round(10 * length_s)
        sound = np.stack([make_sine(300 + 200 * number, length_s, 44_100)] * 2)
        make_media(path, frames, codec="libx264", pix_fmt="yuv420p", sound=sound, rate_hz=44_100, audio_codec="aac",
                   audio_format="fltp", layout="stereo")  # fmt: skip

    def make(folder: Path, *, clips: bool = True) -> Path:
        folder.mkdir(parents=True)
        for part, lines in MELD_LINES.items():
            header = (
                "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
            )
            rows = [
                f'{number},"{words}",{who},{emotion},{sentiment},{dialogue},{utterance},6,24,"{start}","{end}"'
                for number, (dialogue, utterance, words, who, emotion, sentiment, start, end) in enumerate(lines, 1)
            ]
            (folder / f"{part}_sent_emo.csv").write_bytes("\r\n".join([header, *rows, ""]).encode("cp1252"))
        if not clips:
            return folder
        numbers = itertools.count()
        places = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
        for part, place in places.items():
            (folder / place).mkdir()
            for dialogue, utterance, *_ in MELD_LINES[part]:
                number = next(numbers)
                clip(folder / place / f"dia{dialogue}_utt{utterance}.mp4", number, 1.0 + 0.5 * (number % 3))
        train, dev, test = (folder / place for place in places.values())
        broken = train / "dia125_utt3.mp4"
        broken.write_bytes(broken.read_bytes()[:4000])
        (dev / "dia110_utt7.mp4").unlink()
        (dev / "dia52_utt2.mp4").write_bytes((train / "dia53_utt0.mp4").read_bytes())
        clip(dev / "dia66_utt9.mp4", next(numbers), 1.0)
        clip(test / "final_videos_testdia101_utt0.mp4", next(numbers), 1.0)
        for place in (train, dev, test):
            (place / "._dia0_utt0.mp4").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        return folder

    return make


#: video -> length in seconds, and the lines of its transcript to the letter.
MOSEI_VIDEOS: Mapping[str, tuple[float, str]] = {
    "-3g5yACwYnA": (
        9.0,
        "-3g5yACwYnA___10___6.5___8.25___He said ___nothing___ of it: \"Why?\"\n"
        "-3g5yACwYnA___2___-0.457596371882___2.25___Key Polymer, I love it.\n"
        "-3g5yACwYnA___3___2.0___3.5___We are huge\n"
        "-3g5yACwYnA___4___3.5___5.0___\n"
        "-3g5yACwYnA___5___5.0___6.5___Nobody rated this.\n",
    ),
    "100178": (
        6.0,
        "100178___0___0.0124716553288___1.5___What a mess.\r\n"
        "100178___1___3.0___1.5___It runs backwards.\r\n"
        "100178___2___4.0___6.3___It ends a little late.\r\n"
        "100178___3___40.0___42.0___It is somewhere else.\r\n"
        "this line lost its times\r\n",
    ),
    "a___bC-d_12": (4.0, "a___bC-d_12___0___0.5___2.0___Oh.\na___bC-d_12___1___nan___2.0___Hm.\n"),
    "zzMissing00": (0.0, "zzMissing00___0___0.5___2.0___The video was taken down.\n"),
}  # fmt: skip
#: Table -> its rows: annotator, video, clip, then anger, disgust, fear, happiness, sadness, surprise, sentiment.
MOSEI_TABLES: Mapping[str, Sequence[str]] = {
    "5000_batch_raw.csv": (
        "A1,-3g5yACwYnA,2,0,0,0,2,0,0,2",
        "A2,-3g5yACwYnA,2,0,0,0,1,0,1,1",
        "A3,-3g5yACwYnA,2,0,0,0,0,0,0,0",
        "A1,-3g5yACwYnA,3,0,0,0,0,0,0,0",
        "A2,-3g5yACwYnA,3,0,,0,0,0,0,",
        "A3,-3g5yACwYnA,3,,,,,,,-1",
        "A1,-3g5yACwYnA,4,1,0,0,0,0,0,-1",
        "A1,videos/set1/-3g5yACwYnA,10,1,0,0,1,0,0,-3",
        "A2,videos/set1/-3g5yACwYnA,10,2,3,0,0,0,0,-2",
        "A3,videos/set1/-3g5yACwYnA,10,1,0,0,0,0,0,-3",
        "A1,-3g5yACwYnA,77,0,0,0,3,0,0,3",
        "A1,a___bC-d_12,0,,,,,,,",
        "A2,a___bC-d_12,0,0,0,0,0,0,3,1",
        "A1,a___bC-d_12,1,0,0,0,0,0,3,1",
        "A1,zzMissing00,0,0,0,1,0,0,0,0",
        "A4,,0,0,0,1,0,0,0,0",
    ),
    "pom_extra_sqa_mono_results.csv": (
        "B1,100178.0,0.0,0,0,1,0,2,0,-1",
        "B2,100178.0,0.0,0,0,0,0,1,0,-2",
        "B1,100178.0,1.0,0,0,0,0,1,0,0",
        "B1,100178.0,2.0,0,0,0,0,0,0,0",
        "B1,100178.0,3.0,0,0,0,0,0,0,0",
    ),
    # A batch that is distributed twice.
    "saved_5000_batch_raw.csv": ("A1,-3g5yACwYnA,2,0,0,0,2,0,0,2", "A3,-3g5yACwYnA,2,0,0,0,0,0,0,0"),
}
MOSEI_LISTS = {"train": "-3g5yACwYnA\n", "valid": "100178\n", "test": "a___bC-d_12\nzzMissing00\n"}


@pytest.fixture(scope="session")
def make_mosei(make_media: Callable[..., Path], make_grey_frames: Callable[..., Any]) -> Callable[..., Path]:
    """Writes a source for `maeum prepare mosei`, with the damage that copies of it have.

    A video's grey is 40, and 20 levels more each second; its sound is a sine of 400 Hz.
    """

    def write(folder: Path, *, media: bool = True, annotators: bool = True, lists: bool = True) -> Path:
        def text(place: str, content: str) -> None:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(content.encode())

        emotions = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
        answers = [f"Answer.{name}" for name in (*emotions, "sentiment")]
        for name, rows in MOSEI_TABLES.items():
            table = [["HITId", "AssignmentId", "Input.VIDEO_ID", "Input.CLIP", *answers]]
            for row in rows:
                annotator, video, clip, *values = row.split(",")
                table.append(["H", f"{annotator} {video} {clip}", video, clip, *values])
            cells = [line if annotators else [line[0], *line[2:]] for line in table]
            text(f"Raw/Labels/{name}", "\ufeff" + "".join(",".join(line) + "\r\n" for line in cells))
        for video, (length_s, lines) in MOSEI_VIDEOS.items():
            text(f"Raw/Transcript/Segmented/Combined/{video}.txt", lines)
            text(f"Raw/Transcript/Full/Combined/{video}.txt", "All that was said.\n")
            if media and length_s:
                place = folder / "Raw/Videos/Full/Combined"
                place.mkdir(parents=True, exist_ok=True)
                levels = [40 + 2 * i for i in range(round(10 * length_s))]
                pictures = make_grey_frames(levels, 64, 64)
                make_media(place / f"{video}.mp4", pictures, codec="mpeg4", pix_fmt="yuv420p")
                write_wav(folder / f"Raw/Audio/Full/WAV_16000/{video}.wav", length_s, 400)
        # A clip that was cut out, under the name of a video that is not there.
        text("Raw/Videos/Segmented/Combined/zzMissing00.mp4", "a clip")
        for part, ids in MOSEI_LISTS.items() if lists else ():
            text(f"folds/{part}.txt", ids)
        return folder

    return write


#: Of a miniature CREMA-D: the clips that its tables list, and their rows of the summary table (of a real one, some).
CREMA_D_VOTES: Mapping[str, tuple[str, str, str, str, str, str]] = {
    "1001_IEO_NEU_XX": ("N", "69.1", "N", "92.22", "N", "64.78"),
    "1001_IEO_HAP_LO": ("N", "71.67", "H", "57", "H", "57.38"),
    "1001_IEO_ANG_HI": ("A:D", "60:40.5", "A", "50", "A", "70"),
    "1001_TSI_FEA_XX": ("F", "55", "F:N", "50:60", "F:S", "40:41"),
    "1040_ITH_SAD_XX": ("S:N", " 29:100", "S", "51.667", "N", "44"),
    "1064_DFA_DIS_XX": ("D", "10", "D", "20", "D", "30"),
    "1076_MTI_SAD_XX": ("N", "80", "S", "60", "S", "61"),
    "1091_WSI_HAP_MD": ("H", "33.5", "H", "66.5", "H", "50.5"),
}  # fmt: skip


@pytest.fixture(scope="session")
def make_crema_d(make_media: Callable[..., Path], make_sine: Callable[..., Any]) -> Callable[..., Path]:
    """A miniature CREMA-D, made at a given folder as its authors distribute it, with what copies of it have.

    ``1040_ITH_SAD_X.wav`` lacks its last letter, 1064's wav is a Git LFS pointer, 1076's video is cut short, and of
    1091 there is an mp4 instead of the flv.
    """

    def make(folder: Path) -> Path:
        for place in ("AudioWAV", "AudioMP3", "VideoFlash", "processedResults"):
            (folder / place).mkdir(parents=True)
        kinds = ("Voice", "Face", "MultiModal")
        summary = [["FileName", *(f"{kind}{what}" for kind in kinds for what in ("Vote", "Level"))]]
        summary += [[name, *row] for name, row in CREMA_D_VOTES.items()]
        lines = [",".join(f'"{field}"' for field in (str(n or ""), *row)) for n, row in enumerate(summary)]
        (folder / "processedResults/summaryTable.csv").write_text("\n".join([*lines, ""]))
        names = "".join(f'{number},"{name}"\n' for number, name in enumerate(CREMA_D_VOTES, 1))
        (folder / "SentenceFilenames.csv").write_text('"Stimulus_Number","Filename"\n' + names)
        people = dict.fromkeys(name[:4] for name in CREMA_D_VOTES)
        rows = "".join(f'{actor},51,"Male","Caucasian","Not Hispanic"\n' for actor in people)
        (folder / "VideoDemographics.csv").write_text('"ActorID","Age","Sex","Race","Ethnicity"\n' + rows)
        for number, name in enumerate(CREMA_D_VOTES):
            length_s = 0.8 + 0.5 * (number % 3)
            make_media(folder / f"AudioWAV/{name}.wav", sound=make_sine(300 + 200 * number, length_s, 16_000))
            frames = [np.full((72, 96, 3), 60 + 20 * number, np.uint8)] * round(10 * length_s)
            kind, codec = (".mp4", "libx264") if name.startswith("1091") else (".flv", "flv")
            make_media(folder / f"VideoFlash/{name}{kind}", frames, codec=codec, pix_fmt="yuv420p", rate_hz=44_100,
                       sound=make_sine(6000, length_s, 44_100), audio_codec="libmp3lame",
                       audio_format="s16p")  # fmt: skip
        wav = folder / "AudioWAV"
        (wav / "1040_ITH_SAD_XX.wav").rename(wav / "1040_ITH_SAD_X.wav")
        (wav / "1064_DFA_DIS_XX.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
        (wav / "._1001_IEO_NEU_XX.wav").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        cut = folder / "VideoFlash/1076_MTI_SAD_XX.flv"
        cut.write_bytes(cut.read_bytes()[:10])
        return folder

    return make


@pytest.fixture(scope="session")
def make_ravdess(make_media: Callable[..., Path], make_sine: Callable[..., Any]) -> Callable[..., Path]:
    """A miniature RAVDESS, made at a given folder as its archives unpack, with what copies of it have.

    Five performances, one of them sung, each with sound, with picture and with both; all sounds of speech are there
    twice, one video is cut short, and macOS has left its notes. The sound of a performance is 300 Hz and 200 Hz more
    for each before it, its picture of brightness 60 and 20 more for each.
    """
    performances = (
        "01-05-02-01-01-02",
        "01-02-01-02-01-17",
        "01-08-01-01-02-24",
        "02-04-01-02-01-02",
        "01-07-02-02-02-02",
    )

    def make(folder: Path) -> Path:
        for number, codes in enumerate(performances):
            actor, voice = codes[-2:], "Speech" if codes.startswith("01") else "Song"
            sounds = folder / f"Audio_{voice}_Actors_01-24/Actor_{actor}"
            videos = folder / f"Video_{voice}_Actor_{actor}/Actor_{actor}"
            for place in (sounds, videos):
                place.mkdir(parents=True, exist_ok=True)
            length_s = 1.0 + 0.5 * (number % 3)
            sound = make_sine(300 + 200 * number, length_s, 48_000)
            frames = [np.full((72, 128, 3), 60 + 20 * number, np.uint8)] * round(10 * length_s)
            make_media(sounds / f"03-{codes}.wav", sound=sound, rate_hz=48_000)
            make_media(videos / f"02-{codes}.mp4", frames, codec="libx264", pix_fmt="yuv420p")
            make_media(videos / f"01-{codes}.mp4", frames, codec="libx264", pix_fmt="yuv420p", sound=sound,
                       rate_hz=48_000, audio_codec="aac", audio_format="fltp")  # fmt: skip
            (sounds / f"._03-{codes}.wav").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        shutil.copytree(folder / "Audio_Speech_Actors_01-24", folder / "audio_speech_actors_again")
        broken = folder / "Video_Speech_Actor_24/Actor_24/01-01-08-01-01-02-24.mp4"
        broken.write_bytes(broken.read_bytes()[:3000])
        return folder

    return make


@pytest.fixture(scope="session")
def make_emodb(make_media: Callable[..., Path], make_sine: Callable[..., Any]) -> Callable[..., Path]:
    """A miniature EmoDB, made at a given folder: two in each part, a bored one, and a file of somebody else."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        names = ("03a01Fa", "08b03Wb", "12a02Na", "13b01Tc", "15a04Ad", "16b09Ea", "09a05La", "99song")
        for number, name in enumerate(names):
            make_media(folder / f"{name}.wav", sound=make_sine(300 + 100 * number, 0.5 + 0.25 * (number % 3), 16_000))
        return folder

    return make


@pytest.fixture(scope="session")
def make_fer2013() -> Callable[..., Path]:
    """A miniature FER2013, made at a given folder: a picture of each emotion in each part, of its own brightness.

    One picture of train is in test, too, one in train has two labels, one lies beside its folder.
    """

    def make(folder: Path) -> Path:
        brightness = itertools.count(20, 10)
        for part in ("train", "dev", "test"):
            for emotion in ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"):
                (folder / part / emotion).mkdir(parents=True)
                mean = next(brightness)
                picture = Image.new("L", (48, 48), mean - 10)
                picture.paste(mean + 10, (0, 0, 24, 48))  # a picture of one colour shows no face
                picture.save(folder / part / emotion / "1.png")
        shutil.copy(folder / "test/sad/1.png", folder / "train/sad/2.png")
        shutil.copy(folder / "train/fear/1.png", folder / "train/surprise/2.png")
        shutil.copy(folder / "train/sad/1.png", folder / "1.png")
        return folder

    return make


@pytest.fixture(scope="session")
def make_goemotions() -> Callable[..., Path]:
    """A miniature GoEmotions, made at a given folder: seven comments in each part, one of several labels, one again."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        (folder / "labels.txt").write_text("anger\ndisgust\nfear\njoy\nneutral\nsadness\nsurprise\n")
        for part in ("train", "dev", "test"):
            lines = [f"{part} says\t{number}\t{part}{number}\n" for number in range(7)]
            lines = [line.replace("says", f'says "{number}"') for number, line in enumerate(lines)]
            (folder / f"{part}.tsv").write_text("".join([*lines, f"both\t0,5\t{part}7\n", f"Again!\t4\t{part}8\n"]))
        return folder

    return make


@pytest.fixture(scope="session")
def make_sessions() -> Callable[..., Path]:
    """`prepare_sessions`."""
    return prepare_sessions


@pytest.fixture(scope="session")
def make_spelling_mmer() -> Callable[..., Path]:
    """`save_spelling_mmer`."""
    return save_spelling_mmer

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maeum.errors import TranscriptError
from maeum.media.text import TranscriptLine, read_noted_transcript, read_transcript

SRT = """1
00:00:01,000 --> 00:00:02,500
Hello there:
it is 10:30

2
100:00:03,250 --> 100:00:04,000
<i>Tilted</i> {\\an8}words &amp; more

"""


def write(tmp_path, name, text, encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_subrip_in_any_encoding(tmp_path, encoding, ends):
    lines = read_transcript(write(tmp_path, "a.srt", SRT.replace("\n", ends), encoding))
    assert lines == [
        TranscriptLine("Hello there: it is 10:30", 1.0, 2.5),
        TranscriptLine("Tilted words & more", 360_003.25, 360_004.0),
    ]


def test_latin_1(tmp_path):
    text = "1\n00:00:01,000 --> 00:00:02,000\nGr\u00fc\u00df Gott, caf\u00e9\n"
    assert read_transcript(write(tmp_path, "a.srt", text, "latin-1"))[0].text == "Gr\u00fc\u00df Gott, caf\u00e9"


def test_subrip_as_people_write_it(tmp_path):
    text = "00:01.5 --> 00:02.5\nno number, no hours\n2\n00:00:03 --> 00:00:04\nno blank line before\n\n4\n"
    text += "00:00:05,000 --> 00:00:06,000\n\n5\n00:00:06,000 --> 00:00:07,000\n42\n"
    lines = read_transcript(write(tmp_path, "a.srt", text))
    assert [(x.text, x.start_s) for x in lines] == [
        ("no number, no hours", 1.5), ("no blank line before", 3.0), ("42", 6.0),
    ]  # fmt: skip


def test_webvtt_with_voices_notes_and_settings(tmp_path):
    text = """WEBVTT - a title

STYLE
::cue { color: red }

NOTE this is
not said --> at all? no: it is a note

intro
00:01.000 --> 00:02.000 align:start position:0%
<v Mary Ann>Hi <b>you</b></v> <v.loud Bob>Hello <00:00:01.500><c>again</c>

01:00:00.000 --> 01:00:01.000
plain: text
"""
    text = text.replace("not said --> at all? no: it is a note", "not said at all")
    assert read_transcript(write(tmp_path, "a.vtt", text)) == [
        TranscriptLine("Hi you", 1.0, 2.0, "Mary Ann"),
        TranscriptLine("Hello again", 1.0, 2.0, "Bob"),
        TranscriptLine("plain: text", 3600.0, 3601.0),
    ]


def test_overlapping_and_unordered_cues_are_sorted_and_kept(tmp_path):
    text = "1\n00:00:05,000 --> 00:00:09,000\nlater\n\n2\n00:00:01,000 --> 00:00:06,000\nearlier\n"
    lines = read_transcript(write(tmp_path, "a.srt", text))
    assert [(x.text, x.start_s, x.end_s) for x in lines] == [("earlier", 1.0, 6.0), ("later", 5.0, 9.0)]


def test_plain_text_has_no_times(tmp_path):
    lines = read_transcript(write(tmp_path, "a.txt", "First: one\n\n  second   line \n"))
    assert lines == [TranscriptLine("First: one"), TranscriptLine("second line")]


class TestJson:
    def read(self, tmp_path, data):
        return read_transcript(write(tmp_path, "a.json", json.dumps(data)))

    def test_segments(self, tmp_path):
        words = [{"word": " Hi", "start": 0.1, "end": 0.2}]
        data = {"text": "Hi. Ho.", "language": "en", "segments": [
            {"id": 0, "start": 0.0, "end": 1.0, "text": " Hi.", "words": words},
            {"start": 1, "end": 2, "text": " Ho.", "speaker": "SPEAKER_01"},
        ]}  # fmt: skip
        assert self.read(tmp_path, data) == [
            TranscriptLine("Hi.", 0.0, 1.0), TranscriptLine("Ho.", 1.0, 2.0, "SPEAKER_01"),
        ]  # fmt: skip

    def test_list_of_lines(self, tmp_path):
        data = [
            {"start": 2.0, "end": 3.0, "text": "b"},
            {"start": 0.0, "end": 1.0, "text": "a"},
            {"text": "", "start": 5},
        ]
        assert [x.text for x in self.read(tmp_path, data)] == ["a", "b"]

    def test_words_become_sentences(self, tmp_path):
        said = [("I", 0, 0.2), ("see.", 0.2, 0.5), ("And", 0.6, 0.8), ("then", 0.8, 1), ("pause", 3, 3.5)]
        data = [{"word": w, "start": a, "end": b} for w, a, b in said]
        expected = [
            TranscriptLine("I see.", 0.0, 0.5), TranscriptLine("And then", 0.6, 1.0), TranscriptLine("pause", 3.0, 3.5),
        ]  # fmt: skip
        assert self.read(tmp_path, data) == expected
        assert self.read(tmp_path, {"words": data}) == expected

    def test_chunks_with_timestamps(self, tmp_path):
        data = {
            "text": "x",
            "chunks": [{"timestamp": [0.0, 1.5], "text": " a"}, {"timestamp": [1.5, None], "text": "b"}],
        }
        assert self.read(tmp_path, data) == [TranscriptLine("a", 0.0, 1.5), TranscriptLine("b", 1.5, None)]

    def test_text_alone(self, tmp_path):
        assert self.read(tmp_path, {"text": " all of it "}) == [TranscriptLine("all of it")]

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({"a": 1}, "holds no transcript"),
            (3, "holds no transcript"),
            ([{"start": 0}], "entry 1 has no text"),
            ([3], "entry 1"),
            ({"segments": [{"text": "a", "start": "soon"}]}, "segments 1: start 'soon'"),
            ({"segments": [{"text": "a", "start": -1.0}]}, "segments 1: start -1"),
            ({"segments": [{"text": "a", "start": 2.0, "end": 1.0}]}, "before the start"),
            ([{"text": "a", "start": float("nan")}], "start nan"),
            ([], "holds no text"),
        ],
    )
    def test_other_shapes_are_errors(self, tmp_path, data, words):
        with pytest.raises(TranscriptError, match=words):
            self.read(tmp_path, data)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.srt", b"", "empty"),
        ("a.srt", b"\n\n", "holds no text"),
        ("a.srt", b"1\n00:00:01,000 --> later\nhi\n", r"line 2: .*later.* is not a time"),
        ("a.srt", b"1\n00:00:09,000 --> 00:00:02,000\nhi\n", "line 2: the end, 2 s, is before the start, 9 s"),
        ("a.srt", b"1\n00:99:09,000 --> 00:99:12,000\nhi\n", "line 2"),
        ("a.srt", b"just words\n", "line 1: there is no time"),
        ("a.vtt", b"WEBVTT\n\n", "holds no text"),
        ("a.json", b"{\n\n nope", "line 3: is not JSON"),
        ("a.json", b"[" * 100_000, "a.json"),
        ("a.txt", bytes(range(256)), "line 1: holds the byte 0"),
        ("a.pdf", b"%PDF", "unknown extension"),
    ],
)
def test_errors_name_file_and_line(tmp_path, name, content, words):
    with pytest.raises(TranscriptError, match=words) as caught:
        read_transcript(write(tmp_path, name, content))
    assert name in str(caught.value)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(TranscriptError, match="no such file"):
        read_transcript(tmp_path / "none.srt")
    (tmp_path / "d.srt").mkdir()
    with pytest.raises(TranscriptError, match="is a directory"):
        read_transcript(tmp_path / "d.srt")


CUES = "1\n00:00:01,000 --> 00:00:02,000\none\n\n2\n00:00:03,000 --> 00:00:04,000\ntwo\n"


@pytest.mark.parametrize(
    ("end", "line"),
    [("", None), ("\n\n", None), ("\n3\n00:00:05,000 --> 00:00:06", 10), ("\n3\n00:00:05,0", 9), ("\n3", 9),
     ("\n3\n00:00:05,000 -->", 10), ("\n3\n00:00:05,000 --> 00:0", 10),
     ("\nNOTE made by hand", None), ("\n3\n00:00:05,000 --> 00:00:06,000\nthree", None)],
)  # fmt: skip
def test_a_last_cue_that_was_cut_off_is_noted(tmp_path: Path, end: str, line: int | None) -> None:
    (tmp_path / "a.srt").write_text(CUES + end)
    lines, notes = read_noted_transcript(tmp_path / "a.srt")
    assert [line.text for line in lines][:2] == ["one", "two"]
    assert [f"line {line} " in note for note in notes] == ([] if line is None else [True])


@pytest.mark.parametrize("blanks", ["", "\n"])  # an even number of bytes, and an odd one
def test_a_zero_in_a_cue_is_named_with_its_line(tmp_path: Path, blanks: str) -> None:
    (tmp_path / "a.srt").write_text(CUES.replace("one", "o\0e") + blanks)
    with pytest.raises(TranscriptError, match="line 3: holds the byte 0, so the file is damaged or not text"):
        read_transcript(tmp_path / "a.srt")

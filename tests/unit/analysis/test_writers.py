"""Files: what is in them, and that they are whole, where they should be, and never in place of something else."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from maeum.analysis.palette import colours, ink_on
from maeum.analysis.report import render_html
from maeum.analysis.schema import SCHEMA, from_dict, to_dict
from maeum.analysis.terminal import show_timeline
from maeum.analysis.words import clock, on_scale, percent, shortened
from maeum.analysis.writers import WRITERS, write_timeline
from maeum.errors import ConfigError, OutputError
from maeum.labels import EMOTIONS
from maeum.media.text import read_transcript
from maeum.models.card import ModelCard
from maeum.models.pretrained import load_pretrained
from maeum.types import Timeline

PNG = b"\x89PNG\r\n\x1a\n"


def probs(top: str, value: float) -> dict[str, float]:
    """Probabilities of the seven emotions with this one on top."""
    return {name: value if name == top else (1 - value) / 6 for name in EMOTIONS}


@pytest.fixture
def card(small_model: Path) -> ModelCard:
    return load_pretrained(small_model).card


def test_json_holds_everything(timeline: Timeline, card: ModelCard, tmp_path: Path):
    (path,) = write_timeline(timeline, tmp_path, ["json"], card=card)
    data = json.loads(path.read_text(encoding="utf-8"))
    assert (data["schema"], data["model_card"]["non_commercial"]) == (SCHEMA, True)
    assert from_dict(data) == timeline


def test_json_keeps_values_and_all_labels_that_apply(timeline: Timeline, scales: Timeline):
    several = replace(timeline.segments[0].prediction, above=("happiness", "fear"))
    none = replace(several, above=())
    segments = tuple(replace(timeline.segments[0], prediction=answer) for answer in (several, none))
    for kept in (scales, replace(timeline, segments=segments)):
        assert from_dict(json.loads(json.dumps(to_dict(kept)))) == kept


def test_json_of_before_there_were_scales_can_be_read(timeline: Timeline):
    data = to_dict(timeline)
    del data["scales"]
    for segment in data["segments"]:
        for name in ("above", "values", "intervals"):
            del segment["prediction"][name]
        for opinion in segment["prediction"]["modalities"].values():
            del opinion["values"]
    assert from_dict(data) == timeline


def test_values_in_a_spreadsheet(scales: Timeline, tmp_path: Path):
    (path,) = write_timeline(scales, tmp_path, ["csv"])
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    shown = ("v_valence", "v_valence_low", "v_valence_high", "v_arousal_low", "speech_v_arousal", "faces_share")
    assert [rows[0][name] for name in shown] == ["4.0000", "3.0000", "5.0000", "-0.2500", "0.8000", "0.6000"]
    assert [rows[1][name] for name in shown] == ["1.0000", "1.0000", "2.0000", "", "", "1.0000"]
    assert (rows[4]["v_valence"], rows[4]["reason"]) == ("", "no speech: the sound is silent")
    assert not {"label", "confidence"} & set(rows[0])


def test_values_as_subtitles(scales: Timeline, tmp_path: Path):
    (path,) = write_timeline(scales, tmp_path, ["srt"])
    first, second, third, _ = read_transcript(path)
    assert "valence 4.0, arousal 0.2" in first.text
    assert "face 2: valence 1.0, arousal -1.0" in first.text
    assert "valence 1.0, arousal -1.0" in second.text
    assert third.text == "no answer (no speech: the sound is silent)"


def test_the_report_draws_each_value_where_it_is_on_its_scale(scales: Timeline, card: ModelCard):
    page = render_html(scales, card)
    reader = read_page(page)
    assert len(reader.ids) == len(set(reader.ids))
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    paths = re.findall(r'<path d="([^"]*)"', page)
    fields = [
        (float(y), float(h))
        for y, h in re.findall(r'class="field" x="132" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', page)
    ]
    assert len(paths) == len(fields) == 6, "two scales of two faces and of the voice"
    (y, height), path = fields[0], paths[0]
    at = [float(v) for v in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
    assert at == pytest.approx([y + height * 0.25, y + height, y + height * 0.25]), "4, 1 and 4 from 1 to 5"
    assert [sign for sign in path if sign in "ML"] == ["M", "L", "M"], "neighbours are joined, not over a gap"
    edges = [float(v) for v in re.findall(r"H([\d.]+)", path)]
    assert edges == pytest.approx([132 + 948 * share for share in (0.2, 0.4, 1.0)], abs=0.06)
    assert paths[4:] == ["", ""], "no line where there is no answer"
    for said in ("4.0 (3.0 to 5.0)", "0.2 (-0.2 to 0.8)", "-1.0", "face 60%: valence 3.5, arousal -0.2", "no answer"):
        assert said in reader.text
    assert "Time by emotion" not in reader.text


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_terminal_shows_values_within_the_width(scales: Timeline, width: int):
    shown = show(scales, width)
    assert all(len(line) <= width for line in shown.splitlines() if "/films" not in line)
    flat = " ".join(shown.split())
    for said in ("valence 4.0 (3.0 to 5.0)", "valence 1.0 (1.0 to 2.0)", "arousal -1.0", "no answer", "face 2"):
        assert said in flat
    strip = next(line for line in shown.splitlines() if line.startswith("  valence"))
    marks = strip.split("valence")[1].strip()
    cells = len(marks)
    assert marks[0] == "▇", "4 is in the seventh of eight parts of 1 to 5"
    assert marks[round(cells * 0.3)] == "▁"
    assert marks[round(cells * 0.6)] == "·"


def test_a_value_has_the_digits_that_its_scale_deserves():
    shown = [on_scale(value, ends) for value, ends in ((3.87, (1, 7)), (-0.04, (-1, 1)), (42.4, (0, 100)), (2, (0, 3)))]
    assert shown == ["3.9", "0.0", "42", "2.0"]


def test_json_of_another_layout_is_an_error(timeline: Timeline):
    with pytest.raises(ConfigError, match="timeline/9"):
        from_dict(to_dict(timeline) | {"schema": "maeum.timeline/9"})


def test_csv_has_a_row_for_each_segment_and_keeps_words_with_commas(timeline: Timeline, tmp_path: Path):
    (path,) = write_timeline(timeline, tmp_path, ["csv"])
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert len(rows) == 3
    assert rows[0]["text"] == timeline.segments[0].text
    assert (rows[0]["label"], rows[0]["confidence"], rows[0]["p_happiness"]) == ("happiness", "0.8200", "0.8200")
    assert (rows[0]["speech_label"], rows[0]["speech_share"], rows[0]["text_label"]) == ("fear", "0.4000", "")
    assert (rows[2]["label"], rows[2]["reason"]) == ("", "no speech: the sound is silent")


def test_subtitles_can_be_read_back(timeline: Timeline, tmp_path: Path):
    (path,) = write_timeline(timeline, tmp_path, ["srt"])
    lines = read_transcript(path)
    assert [(line.start_s, line.end_s) for line in lines] == [(0.5, 4.25), (5.0, 12.5)]
    assert "happiness 82%" in lines[0].text
    assert "face 2: sadness 50%" in lines[0].text
    assert "no answer" in lines[1].text


class _Reader(HTMLParser):
    """Collects what a page would load or run, and checks that tags are closed in order."""

    void = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action")]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_report_is_one_well_formed_file_that_loads_and_runs_nothing(timeline: Timeline, card: ModelCard):
    page = render_html(timeline, card)
    reader = read_page(page)
    assert "script" not in reader.tags
    assert not {"link", "iframe", "object", "embed"} & set(reader.tags)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in reader.links)
    assert len(reader.ids) == len(set(reader.ids))
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert not re.search(r"url\((?!#|data:image/png;base64,)", page)
    assert "default-src 'none'" in page


def test_words_from_outside_are_shown_not_run(timeline: Timeline, card: ModelCard):
    evil = replace(timeline, source='/x/<img src=x onerror="1">.mp4')
    page = render_html(evil, card.model_copy(update={"limits": "<script>2</script>"}))
    reader = read_page(page)
    assert "script" not in reader.tags
    assert not [name for name in reader.attributes if name.startswith("on")]
    assert '<script>alert("x")</script>' in reader.text
    assert "{{ 7 * 7 }}" in reader.text


def test_the_report_says_what_was_said_and_what_it_means(timeline: Timeline, card: ModelCard):
    text = read_page(render_html(timeline, card)).text
    for said in (
        "happiness",
        "82%",
        "no speech: the sound is silent",
        "truncated",
        "NON-COMMERCIAL",
        "0.143",
        "cannot mean",
    ):
        assert said in text
    assert "face 2" in text


def test_a_report_without_segments_or_duration_is_still_a_page(timeline: Timeline):
    page = render_html(replace(timeline, segments=(), tracks=(), duration_s=0.0), None)
    assert "nothing to draw" in read_page(page).text


def test_a_report_of_two_hours_stays_small(timeline: Timeline):
    one = replace(timeline.segments[0], text="hello")
    many = tuple(replace(one, start_s=i * 12.0, end_s=i * 12.0 + 12) for i in range(600))
    portrait = PNG + b"x" * 20_000
    tracks = (replace(timeline.tracks[0], thumbnail_png=portrait),)
    page = render_html(replace(timeline, segments=many, tracks=tracks, duration_s=7200.0), None)
    assert len(page) < 3.5e6, "a portrait is in the page twice, not once for each segment"
    read_page(page)


def test_files_beside_the_recording_never_replace_others(timeline: Timeline, tmp_path: Path):
    (tmp_path / "clip.srt").write_text("the user's own")
    there = replace(timeline, source=str(tmp_path / "clip.mp4"))
    (path,) = write_timeline(there, tmp_path, ["srt"])
    assert path.name == "clip.emotions.srt"
    assert (tmp_path / "clip.srt").read_text() == "the user's own"


def test_a_transcript_in_the_output_folder_is_kept(timeline: Timeline, tmp_path: Path):
    transcript = tmp_path / "holiday clip.srt"
    transcript.write_text("the user's own")
    (path,) = write_timeline(timeline, tmp_path, ["srt"], keep=[transcript])
    assert path.name == "holiday clip.emotions.srt"
    assert transcript.read_text() == "the user's own"


def test_a_folder_that_cannot_be_made_is_one_clear_error(timeline: Timeline, tmp_path: Path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "out", Path("/proc/maeum-out")):
        with pytest.raises(OutputError, match="--out"):
            write_timeline(timeline, folder, ["json"])
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("formats", ["html", "html,srt", ("html", "srt")])
def test_formats_may_be_one_text(timeline: Timeline, tmp_path: Path, formats: str):
    written = write_timeline(timeline, tmp_path, formats)
    assert [p.suffix for p in written] == ([".html"] if formats == "html" else [".html", ".srt"])


def test_an_unknown_format_is_an_error_before_anything_is_written(timeline: Timeline, tmp_path: Path):
    with pytest.raises(ConfigError, match="pdf"):
        write_timeline(timeline, tmp_path / "out", "html,pdf")
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(ConfigError, match="html"):
        _ = WRITERS["htm"]


def show(timeline: Timeline, width: int) -> str:
    """What the terminal shows."""
    out = io.StringIO()
    show_timeline(timeline, Console(file=out, width=width, highlight=False, markup=False, emoji=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_terminal_shows_each_segment_within_the_width(timeline: Timeline, width: int):
    shown = show(timeline, width)
    assert "\x1b" not in shown, "no colour when it is not a terminal"
    assert all(len(line) <= width for line in shown.splitlines() if "/films" not in line)
    flat = " ".join(shown.split())
    for said in ("happiness 82%", "sadness 50%", "face 2", "no answer"):
        assert said in flat


def test_colours_are_stable_distinct_and_readable():
    tones = colours(EMOTIONS)
    assert len(set(tones.values())) == 7
    assert colours(("joy", "angry"))["angry"] == tones["anger"]
    others = colours((*EMOTIONS, "excited", "frustrated", "bored"))
    assert len(set(others.values())) == 10
    assert (ink_on("#ffffff"), ink_on("#000000")) == ("#000000", "#ffffff")


@pytest.mark.parametrize("width", [50, 80, 120])
def test_lanes_whose_names_are_long_can_be_told_apart(timeline: Timeline, width: int):
    names = ("A very long name of somebody, the first", "A very long name of somebody, the second")
    segments = tuple(replace(timeline.segments[0], face=None, speaker=name) for name in names)
    shown = show(replace(timeline, segments=segments, tracks=()), width)
    lanes = [line for line in shown.splitlines() if "▏" in line]
    assert len(lanes) == 2
    starts = [line[: line.index("·")].strip() for line in lanes]
    assert len(set(starts)) == 2
    assert all("…" in start and start.startswith("A v") for start in starts)
    assert all(len(line) <= width for line in lanes)


def test_a_cut_label_has_a_mark(timeline: Timeline):
    short = replace(timeline, segments=(replace(timeline.segments[0], start_s=2.0, end_s=3.0),))
    lane = next(line for line in show(short, 80).splitlines() if "▏" in line)
    assert "▏hap…" in lane or "▏happ…" in lane
    whole = next(line for line in show(timeline, 120).splitlines() if "▏" in line)
    assert "▏happiness " in whole
    assert shortened("SPEAKER_01", 8) == "SPEA…_01"


def test_nothing_is_certain():
    assert [percent(p) for p in (1.0, 0.9951, 0.994, 0.5, 0.005, 0.0049, 0.0)] == [
        ">99%", ">99%", "99%", "50%", "<1%", "<1%", "<1%",
    ]  # fmt: skip


def test_a_very_sure_answer_does_not_read_as_certain(timeline: Timeline, tmp_path: Path):
    sure = replace(timeline.segments[1].prediction, probs=probs("sadness", 0.9999), confidence=0.9999)
    certain = replace(timeline, segments=(replace(timeline.segments[1], prediction=sure),))
    (subtitles,) = write_timeline(certain, tmp_path, ["srt"])
    shown = {
        "terminal": show(certain, 80),
        "report": read_page(render_html(certain)).text,
        "subtitles": subtitles.read_text(),
    }
    for where, text in shown.items():
        assert "sadness>99%" in "".join(text.split()), where
    assert "Time by emotion" in shown["report"]
    assert not re.search(r"\d %", shown["report"].split("Segments")[0]), "a share is written in one way"
    assert "100%" not in shown["terminal"] + shown["subtitles"]


def test_times_in_words():
    assert [clock(s) for s in (0, 59.96, 61.25, 3723.4)] == ["0:00.0", "1:00.0", "1:01.2", "1:02:03.4"]
    assert clock(3723.4567, srt=True) == "01:02:03,457"

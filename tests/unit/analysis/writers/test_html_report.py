"""The HTML report: what it shows, and that it loads and runs nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from maeum.analysis.writers.html_report import render_html
from maeum.models.card import ModelCard
from maeum.types import Timeline


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
    portrait = b"x" * 20_000
    tracks = (replace(timeline.tracks[0], thumbnail_png=portrait),)
    page = render_html(replace(timeline, segments=many, tracks=tracks, duration_s=7200.0), None)
    assert len(page) < 3.5e6, "a portrait is in the page twice, not once for each segment"
    read_page(page)


def test_a_very_sure_prediction_does_not_read_as_certain(certain: Timeline):
    text = read_page(render_html(certain)).text
    assert "sadness>99%" in "".join(text.split())
    assert "Time by emotion" in text
    assert not re.search(r"\d %", text.split("Segments")[0]), "a share is written in one way"


def test_the_report_says_which_picture_of_a_face_it_shows(timeline: Timeline):
    text = " ".join(read_page(render_html(timeline)).text.split())
    assert "The percentage beside a source is how much it counted." in text
    assert "Each face is shown by its clearest picture in the recording." in text

"""A user's own labelled clips give a model prediction sets, which every later command keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import maeum as package

Maeum = Callable[..., Any]
WORDS = {
    "happiness": "thank you so much, I love it",
    "sadness": "I miss him, it makes me cry",
    "neutral": "the meeting starts at ten",
}


@pytest.fixture
def store(maeum: Maeum, tmp_path: Path) -> Path:
    """120 sentences of twelve people, of whom every third is labelled otherwise than it sounds."""
    source = tmp_path / "mine"
    source.mkdir()
    rows = ["path,text,label,speaker"]
    for i in range(120):
        sounds = list(WORDS)[i % 3]
        rows.append(f',"{WORDS[sounds]}, number {i}",{list(WORDS)[(i // 3) % 3] if i % 3 == 0 else sounds},s{i % 12}')
    (source / "table.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "prepare.yaml").write_text(f"options: {{labels: [{', '.join(WORDS)}]}}\n")
    ended = maeum("prepare", "folder", "--source", source, "--store", tmp_path / "store", "--config",
                  tmp_path / "prepare.yaml")  # fmt: skip
    assert ended.code == 0, ended.err
    return tmp_path / "store"


def test_a_coverage_from_own_clips_to_answers(maeum: Maeum, store: Path, tmp_path: Path):
    out = tmp_path / "mine-90"
    command = ("calibrate", store, "--coverage", "0.9", "--out", out)
    ended = maeum(*command)
    assert ended.code == 0, ended.err
    assert "text: 120 clips, 12 speakers" in ended.out
    assert "also of new people" in ended.out
    assert maeum(*command).code == 0, "the same command writes it again"
    assert "Prediction sets hold the true label of 90% of new clips of new people" in (out / "README.md").read_text()

    answers = [package.load(out).predict(text=f"{text}, number {i}") for i in (500, 501) for text in WORDS.values()]
    sets = [answer.prediction_set for answer in answers]
    assert all(chosen is not None and chosen[0] == max(a.probs, key=a.probs.__getitem__)
               for chosen, a in zip(sets, answers, strict=True))  # fmt: skip
    assert [a.label is None for a in answers] == [len(chosen or ()) > 1 for chosen in sets]
    assert package.load(out).predict(text="I love it", min_confidence=0).label is not None
    threshold = json.loads((out / "config.json").read_text())["calibration"]["coverage"]["thresholds"]["text"]
    assert all(set(chosen or ()) >= {n for n, p in a.probs.items() if p >= threshold}
               for chosen, a in zip(sets, answers, strict=True))  # fmt: skip

    fewer = tmp_path / "mine-80"
    assert maeum("calibrate", store, "--coverage", "0.8", "--model", out, "--out", fewer).code == 0
    said = [line for line in (fewer / "README.md").read_text().splitlines() if "Prediction sets" in line]
    assert len(said) == 1, "of the coverage that it has, not of the one before"
    assert "80% of new clips" in said[0]

    measured = maeum("evaluate", store, "--model", out, "--part", "train", "--split", "{kind: random, by: speaker}")
    assert "prediction sets for 90% (fitted on folder, 120 clips of 12 speakers) hold" in " ".join(measured.out.split())


def test_a_coverage_that_cannot_be_had_is_one_line(maeum: Maeum, store: Path, tmp_path: Path):
    for share, part in (("0.999", "999 are the fewest"), ("2", "between 0.5 and 0.999"), ("nan", "between")):
        ended = maeum("calibrate", store, "--coverage", share, "--out", tmp_path / "none")
        assert ended.code == 2
        assert part in ended.err
        assert not (tmp_path / "none" / "config.json").exists()
    assert maeum("calibrate", "settings.yaml", "--out", tmp_path / "none", "--part", "dev").code == 2

"""Training and evaluation under a split: overlaps are refused or said, and a model knows what it has seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maeum.corpora.splits import LeaveOneOutSplit, OfficialSplit, RandomSplit
from maeum.data.dataset import StoreDataset
from maeum.data.shards import StoreItem
from maeum.data.store import Store
from maeum.data.store_writer import Origin, StoreWriter, write_shard
from maeum.errors import ConfigError, CorpusError
from maeum.labels import EKMAN, EMOTIONS
from maeum.models.card import ModelCard
from maeum.models.pretrained import load_pretrained, write_card
from maeum.reports.report import compare
from maeum.runs.calibrate import CalibrateConfig, calibrate
from maeum.runs.coverage import add_coverage
from maeum.runs.evaluate import evaluate
from maeum.runs.provenance import recipe_of
from maeum.runs.recipe import Recipe
from maeum.runs.train import train
from maeum.runs.trained_on import TrainedOn
from maeum.studies.compare_splits import CompareConfig, compare_splits
from maeum.types import Utterance

SPEAKERS = 6
BRANCH = {"widths": [4, 4, 4, 8], "stem_blocks": 1, "hidden": 8, "transformer": {"layers": 1, "heads": 2}}
LEAK = {"kind": "random", "by": "utterance", "dev_share": 0.3, "test_share": 0.3}
HONEST = {"kind": "random", "by": "speaker", "dev_share": 0.34, "test_share": 0.33}


def make_store(folder: Path, name: str = "voices", people: str = "s") -> Path:
    """Six speakers say two things of each label; the corpus' own parts share speaker 0."""
    parts = ("train", "train", "train", "dev", "dev", "test")
    utterances = [
        Utterance(f"{name}-{s}-{label}-{take}", part="test" if (s, label) == (0, "anger") else parts[s], label=label,
                  speaker=f"{people}{s}", session=f"S{s // 2}")
        for s in range(SPEAKERS) for label in EMOTIONS for take in range(2)
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    with StoreWriter(folder, {"corpus": name}) as writer:
        path = writer.shard_path([name])
        mel_chunks = (rng.normal(size=(2, 1, 128, 32)).astype(np.float16) for _ in utterances)
        write_shard(
            path, [StoreItem(u, mel_chunks=p, content=u.id) for u, p in zip(utterances, mel_chunks, strict=True)]
        )
        manifest = {"name": name, "label_set": EKMAN.to_dict(), "licence": "CC0", "citation": "C",
                    "modalities": ["speech"]}  # fmt: skip
        writer.finish([path], manifest, {u.id: Origin(f"r-{u.id}", f"m-{u.id}") for u in utterances})
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("stores") / "voices")


def recipe(store: Path, **changes: Any) -> Recipe:
    settings = {
        "name": "try", "network": {"dim": 8, "faces": None, "text": None, "speech": BRANCH},
        "train": [{"store": str(store)}], "dev": [{"store": str(store)}],
        "training": {"epochs": 1, "batch_size": 7, "loss": "cross-entropy", "precision": "fp32"},
    }  # fmt: skip
    return Recipe.parse({**settings, **changes})


def test_a_split_that_overlaps_is_refused_before_anything_is_written(store: Path, tmp_path: Path) -> None:
    for split, problem in ((LEAK, "6 speakers shared by train and dev"), (None, "1 speaker shared by train and test")):
        changes = {} if split is None else {"split": split}
        with pytest.raises(CorpusError, match=rf"the parts overlap: .*{problem}.*such as speaker s0: .*allow_overlap"):
            train(recipe(store, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_split_is_applied_without_preparing_again(store: Path, tmp_path: Path) -> None:
    done = train(recipe(store, split=HONEST), tmp_path / "run")
    split = RandomSplit.parse(HONEST).split(Store(store).members())
    assert done.report.items == list(split.parts.values()).count("dev") == 28
    assert done.report.overlap == ""
    assert set(StoreDataset(store, "dev", split=split).ids) == {id for id, part in split.parts.items() if part == "dev"}
    known = TrainedOn.read(done.model)
    assert known is not None
    assert known.split(Store(store)) == split
    assert known.settings == RandomSplit.parse(HONEST)


def test_a_model_is_scored_on_the_parts_it_was_trained_with(store: Path, tmp_path: Path) -> None:
    model = train(recipe(store, split=HONEST), tmp_path / "run").model
    split = RandomSplit.parse(HONEST).split(Store(store).members())
    test = {id for id, part in split.parts.items() if part == "test"}
    scored = evaluate(model, store, "test", intervals=False).report
    assert scored.items == len(test) == 28
    assert scored.overlap == ""
    on_dev = evaluate(model, store, "dev", intervals=False).report
    assert "on 28 of these items the model's best epoch was chosen" in on_dev.notes
    assert not any("chosen" in note for note in scored.notes)
    with pytest.raises(CorpusError, match=r"overlap: .* shared by train and test \(such as .*voices-"):
        evaluate(model, store, "test", split=OfficialSplit(), intervals=False)
    with pytest.raises(CorpusError, match=r"28 utterances, 2 speakers.* shared by train and the scored items"):
        evaluate(model, store, "train", intervals=False)
    said = evaluate(model, store, "train", intervals=False, allow_overlap=True).report.overlap
    assert said.startswith("overlap allowed: 28 utterances, 2 speakers")


def test_a_score_with_an_overlap_carries_it_wherever_it_goes(store: Path, tmp_path: Path) -> None:
    done = train(recipe(store, split=LEAK, allow_overlap=True), tmp_path / "run")
    words = (
        "overlap allowed: 6 speakers shared by train and dev; 6 speakers shared by train and test; "
        "6 speakers shared by dev and test"
    )
    assert done.report.overlap == words
    assert json.loads((tmp_path / "run" / "dev.json").read_text())["overlap"] == words
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["remark"] for line in log] == [words]
    card = load_pretrained(done.model).card
    assert {score.overlap for score in card.scores} == {words}
    assert words in (done.model / "README.md").read_text()
    assert evaluate(done.model, store, "test", intervals=False).report.overlap == words
    other = make_store(tmp_path / "other", "elsewhere", "t")
    assert evaluate(done.model, other, "dev", intervals=False).report.overlap == words, "its epochs were chosen so"


def test_a_speaker_is_known_again_in_another_corpus(store: Path, tmp_path: Path) -> None:
    model = train(recipe(store, split=HONEST), tmp_path / "run").model
    strangers = make_store(tmp_path / "strangers", "strangers", "t")
    assert evaluate(model, strangers, "dev", intervals=False).report.overlap == ""
    same = make_store(tmp_path / "same", "same", "s")
    with pytest.raises(CorpusError, match=r"\d speakers? shared by train and the scored items .*speaker s\d: same-"):
        evaluate(model, same, "train", intervals=False)


def test_names_are_not_handed_on_with_a_model(store: Path, tmp_path: Path) -> None:
    model = train(recipe(store, split=HONEST), tmp_path / "run").model
    text = (model / "split.json").read_text()
    assert "voices-" not in text
    assert '"s0"' not in text


def test_a_model_of_unknown_origin_is_scored_and_said_to_be(store: Path, tmp_path: Path) -> None:
    model = train(recipe(store, split=HONEST), tmp_path / "run").model
    (model / "split.json").unlink()
    notes = evaluate(model, store, "dev", intervals=False).report.notes
    assert any("does not record which items it was trained on" in note for note in notes)


def test_what_a_branch_has_seen_counts(store: Path, tmp_path: Path) -> None:
    first = train(recipe(store, split=HONEST), tmp_path / "first").model
    swapped = {**HONEST, "seed": 1}
    members = Store(store).members()
    assert RandomSplit.parse(swapped).split(members).parts != RandomSplit.parse(HONEST).split(members).parts
    with pytest.raises(CorpusError, match=r"speakers?.* shared by train and (dev|test)"):
        train(recipe(store, split=swapped, start_from={"speech": str(first)}), tmp_path / "second")
    second = train(recipe(store, split=HONEST, start_from={"speech": str(first)}), tmp_path / "third").model
    assert evaluate(second, store, "test", intervals=False).report.overlap == ""


def test_a_calibrated_model_knows_what_it_has_seen(store: Path, tmp_path: Path) -> None:
    model = train(recipe(store, split=LEAK, allow_overlap=True), tmp_path / "run").model
    config = {"name": "done", "title": "Done", "model": str(model), "dev": [{"store": str(store)}],
              "trained_on": [str(store)], "intended_use": "tests", "limits": "all"}  # fmt: skip
    done = calibrate(CalibrateConfig.parse(config), tmp_path / "done")
    before, after = TrainedOn.read(model), TrainedOn.read(tmp_path / "done")
    assert before is not None
    assert after is not None
    assert after.calibrated == before.seen["dev"]["utterance"]
    assert after.model_copy(update={"calibrated": ()}) == before
    assert all(score.overlap.startswith("overlap allowed: 6 speakers") for score in done.card.scores)
    honest = train(recipe(store, split=HONEST), tmp_path / "honest").model
    config |= {"model": str(honest), "dev": [{"store": str(store), "part": "train"}]}
    with pytest.raises(CorpusError, match="shared by train and the scored items"):
        calibrate(CalibrateConfig.parse(config), tmp_path / "none")


def test_a_branch_keeps_its_licence_where_it_has_not_changed(store: Path, tmp_path: Path) -> None:
    first = train(recipe(store, split=HONEST), tmp_path / "first").model
    write_card(first, load_pretrained(first).card.model_copy(update={"licence": "CC BY 4.0", "data": ("voices",)}))
    started = {"split": HONEST, "start_from": {"speech": str(first)}}
    still = {"epochs": 1, "lr_scale": {"": 0.0, "fusion": 1.0}}
    settings = {"title": "Done", "dev": [{"store": str(store)}], "trained_on": [str(store)], "intended_use": "tests",
                "limits": "all", "branches": {"speech": str(first)}}  # fmt: skip

    def finished(name: str, **changes: Any) -> ModelCard:
        model = train(recipe(store, **started, **changes), tmp_path / name).model
        config = CalibrateConfig.parse({**settings, "name": name, "model": str(model)})
        return calibrate(config, tmp_path / f"{name}-done").card

    assert finished("fused", training=still).branches["speech"].data == ("voices",)
    with pytest.raises(ConfigError, match="speech branch has not the weights of"):
        finished("tuned")


def test_a_coverage_is_of_clips_that_the_model_has_not_met(store: Path, tmp_path: Path) -> None:
    model = train(recipe(store, split=HONEST), tmp_path / "run").model
    others = make_store(tmp_path / "others", "others", "o")
    coverage, _ = add_coverage(model, others, tmp_path / "sure", 0.8)
    assert coverage.new_people
    assert load_pretrained(tmp_path / "sure").card.notes[-1] == coverage.note
    assert recipe_of(tmp_path / "sure") == recipe_of(model), "its scores name the training's seed and settings"
    with pytest.raises(CorpusError, match="shared by train and the clips"):
        add_coverage(model, store, tmp_path / "none", 0.8)
    config = {"name": "done", "title": "Done", "model": str(model), "dev": [{"store": str(others), "part": "train"}],
              "trained_on": [str(store)], "intended_use": "tests", "limits": "all"}  # fmt: skip
    calibrate(CalibrateConfig.parse(config), tmp_path / "done")
    with pytest.raises(CorpusError, match="on 40 of these items the model was calibrated"):
        add_coverage(tmp_path / "done", others, tmp_path / "none", 0.8)
    assert not (tmp_path / "none" / "config.json").exists()


def test_folds_are_trained_from_one_store(store: Path, tmp_path: Path) -> None:
    split = {"kind": "leave-one-out", "test": "S1"}
    done = train(recipe(store, split=split), tmp_path / "run")
    assert evaluate(done.model, store, "test", intervals=False).report.items == 28
    assert LeaveOneOutSplit.parse(split).split(Store(store).members()).parts["voices-4-anger-0"] == "dev"


def test_sessions_and_a_split_are_not_mixed(store: Path, tmp_path: Path) -> None:
    data = {
        "train": [{"store": str(store), "sessions": ["S0", "S1"]}],
        "dev": [{"store": str(store), "sessions": ["S2"]}],
    }
    with pytest.raises(ConfigError, match="names sessions beside a split"):
        train(recipe(store, split=HONEST, **data), tmp_path / "run")
    model = train(recipe(store, **data), tmp_path / "run").model
    assert evaluate(model, store, sessions=["S2"], intervals=False).report.items == 28
    with pytest.raises(CorpusError, match=r"28 utterances, 2 speakers.* shared by train and S1"):
        evaluate(model, store, sessions=["S1"], intervals=False)


def test_protocols_are_trained_and_scored_side_by_side(store: Path, tmp_path: Path) -> None:
    protocols = {"leaking": {"split": LEAK, "allow_overlap": True}, "honest": {"split": HONEST}}
    config = CompareConfig.parse({"recipe": recipe(store).model_dump(), "protocols": protocols})
    leaking, honest = compare_splits(config, tmp_path)
    assert leaking.report.overlap.startswith("overlap allowed: 6 speakers")
    assert honest.report.overlap == ""
    made = compare([leaking, honest])
    rows = [line.strip("| ").split(" | ") for line in made.markdown.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[1:5]] == ["leaking", "majority baseline", "honest", "majority baseline"]
    assert rows[1][rows[0].index("uar ↑")] == leaking.report.scores["uar"].format()
    assert [rows[1][1], rows[3][1]] == ["allowed", "none found"]
    for text in (made.page, made.markdown):
        assert f"leaking: {leaking.report.overlap}" in text
        assert "random by utterance, seed 0: 34 train, 25 dev, 25 test" in text
        assert "random by speaker, seed 0: " in text


def test_a_protocol_that_would_be_refused_stops_before_the_first_training(store: Path, tmp_path: Path) -> None:
    protocols = {"honest": {"split": HONEST}, "leaking": {"split": LEAK}}
    config = CompareConfig.parse({"recipe": recipe(store).model_dump(), "protocols": protocols})
    with pytest.raises(CorpusError, match="the parts overlap"):
        compare_splits(config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_card_of_an_earlier_version_is_read() -> None:
    score = {"name": "uar", "data": "dev", "value": 0.5}
    card = {"name": "a", "title": "A", "licence": "L", "non_commercial": False, "parameters": 1, "scores": [score]}
    assert ModelCard.parse(card).scores[0].overlap == ""

"""A paper's tables from a small corpus: which networks are trained, what is in the tables, and what goes wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from maeum.cli.app import app
from maeum.config import MOST_SEED
from maeum.data.shards import StoreItem
from maeum.data.store_writer import StoreWriter, write_shard
from maeum.errors import ConfigError, StoreError
from maeum.evaluation.metrics import accuracy
from maeum.labels import EKMAN, EMOTIONS
from maeum.models.mesm import MESM, MESMConfig
from maeum.models.networks import MODELS
from maeum.models.pretrained import load_pretrained
from maeum.runs.evaluate import evaluate
from maeum.runs.predict import collator
from maeum.runs.recipe import Recipe
from maeum.runs.steps.network import build
from maeum.runs.train import train
from maeum.studies import attention
from maeum.studies import study as module
from maeum.studies.attention import clip_picture, landmarks_of, look
from maeum.studies.compare import starting_from
from maeum.studies.face_regions import REGIONS, TEMPLATE
from maeum.studies.reproduce import REPRODUCTIONS
from maeum.studies.seeds import difference_over_seeds, over_seeds
from maeum.studies.study import Runs, Study, items_of, score_all, subsets_of, train_all, variants
from maeum.training.config import TrainConfig
from maeum.training.loop import Trainer
from maeum.training.losses.encoding_distillation import encoding_loss
from maeum.types import Utterance
from margins import Margin
from objectives import objective_of

RECIPES = Path(__file__).parents[3] / "recipes" / "mesm"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces, mel chunks and words of two emotions; the words tell which."""
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(0)
    items = []
    for i in range(40):
        label = EMOTIONS[i % 2]
        items.append(StoreItem(
            Utterance(f"u{i:02d}", part="train" if i < 24 else "dev", label=label, speaker=f"s{i // 4}",
                      text=f"{'furious' if i % 2 else 'splendid'} words number {i}"),
            content=str(i),
            faces=rng.integers(0, 256, (2, 3, 48, 48), dtype=np.uint8),
            mel_chunks=rng.normal(-8, 3, (3, 1, 128, 32)).astype(np.float16),
        ))  # fmt: skip
    with StoreWriter(folder / "store", {}) as writer:
        path = writer.shard_path(["x"])
        write_shard(path, items)
        writer.finish([path], {"name": "made", "label_set": EKMAN.to_dict(), "licence": "L",
                               "modalities": ["faces", "speech", "text"]})  # fmt: skip
    return folder / "store"


def study(store: Path, **changes: Any) -> Study:
    branch = {"widths": [4, 4, 6, 8], "stem_blocks": 0, "hidden": 8,
              "transformer": {"layers": 1, "heads": 2, "feedforward": 8}}  # fmt: skip
    settings = {
        "name": "made", "title": "Made up", "seeds": 2, "sweep": ["mesm", "random"], "ablation": ["fe2e"],
        "top_p": [0.3, 1.0], "metrics": ["accuracy"],
        "shared": {
            "train": [{"store": str(store)}], "dev": [{"store": str(store)}],
            "tokenizer": {"kind": "small", "vocabulary": 60},
            "network": {"dim": 8, "faces": branch, "speech": branch,
                        "text": {"kind": "small", "vocabulary": 60, "width": 8, "channels": 8, "dim": 8}},
            "training": {"epochs": 1, "batch_size": 8, "lr": 0.01, "loss": "cross-entropy", "class_weights": False},
        },
        "entries": {
            "fe2e": {"title": "FE2E", "model": "fe2e"},
            "mesm": {"title": "MESM", "model": "mesm", "network": {"top_p": 0.5}},
            "random": {"title": "by chance", "model": "mesm", "network": {"top_p": 0.5, "selection": "random"}},
        },
        "published": {"table": {"MESM": {"ang": "88.2/62.8"}}},
    }  # fmt: skip
    return Study.parse({**settings, **changes})


@pytest.fixture(scope="module")
def runs(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs of the study, trained once."""
    folder = tmp_path_factory.mktemp("runs")
    small_study = study(store)
    train_all(small_study, variants(small_study, list(small_study.entries)), folder)
    return folder


def test_the_papers_studies_can_be_read() -> None:
    paths = list(RECIPES.glob("*.yaml"))
    for path in paths:
        read = Study.load(path)
        assert {read.network(name) for name in (*read.sweep, *read.ablation)}
        for name in read.entries:
            assert read.recipe(name).score == read.metrics[0]
    assert len(paths) >= 5
    assert Study.load(RECIPES / "iemocap.yaml").published["table"]["MESM, p = .7"]["avg"] == "84.4/57.4"


def test_every_seed_is_its_own_training(store: Path, runs: Path) -> None:
    folders = [runs / "made" / "mesm" / f"seed-{i}" / "model" for i in range(2)]
    first, second = (load_pretrained(folder).model.state_dict() for folder in folders)
    assert any(not torch.equal(first[k], second[k]) for k in first)


def test_a_subset_has_the_branches_of_its_letters_alone(store: Path) -> None:
    small_study = study(store)
    assert subsets_of(small_study) == ("TAV", "TA", "TV", "AV", "T", "A", "V")
    (variant,) = variants(small_study, ["fe2e"], "AV")
    network = variant.recipes[0].network
    assert network["text"] is None
    assert network["faces"] is not None
    assert variant.recipes[0].tokenizer is None
    assert [r.training.seed for r in variant.recipes] == [0, 1]
    voices = study(store, shared={**small_study.shared, "network": {"faces": None, "text": None}})
    assert subsets_of(voices) == ("A",)


def test_learning_rates_of_branches_that_are_gone_go_too() -> None:
    read = Study.load(RECIPES / "iemocap.yaml")
    scales = {s: variants(read, ["fe2e"], s)[0].recipes[0].training.lr_scale for s in subsets_of(read)}
    assert scales["TA"] == {"encoders.text": 0.1, "heads.text": 0.1}
    assert scales["AV"] == scales["A"] == {}


STARTS = {"title": "taught", "model": "mesm", "init_from": "fe2e", "network": {"top_p": 0.5},
           "training": {"losses": {"encoding-distillation": {}},
                        "lr_scale": {"encoders.text": 0, "heads.text": 0}}}  # fmt: skip


def test_an_entry_starts_from_what_another_learned(store: Path, tmp_path: Path) -> None:
    entries = {"fe2e": {"title": "FE2E", "model": "fe2e"}, "taught": STARTS}
    small_study = study(store, entries=entries, sweep=["taught"], seeds=2)
    chosen = variants(small_study, ["taught"])
    (made,) = train_all(small_study, chosen, tmp_path)
    recipe = Recipe.load(tmp_path / "made" / "taught" / "seed-1" / "recipe.json")
    source = tmp_path / "made" / "fe2e" / "seed-1" / "model"
    assert recipe.start_from == dict.fromkeys(("faces", "speech", "text"), source)
    assert recipe.teacher == source
    learned, first = made.model(1).model.state_dict(), load_pretrained(source).model.state_dict()
    for name in (n for n in first if n.startswith("encoders.text.") and "position_ids" not in n):
        assert torch.equal(learned[name], first[name]), "frozen, so as it was learned before"
    assert not torch.equal(learned["heads.faces.weight"], first["heads.faces.weight"])
    before = (source / "model.safetensors").stat().st_mtime_ns
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "made").rename(moved / "made")
    train_all(small_study, chosen, moved)
    source = moved / "made" / "fe2e" / "seed-1" / "model"
    assert (source / "model.safetensors").stat().st_mtime_ns == before, "trained once"
    for name in ("model.safetensors", "config.json"):  # which holds the hash of the weights
        (source / name).write_bytes((moved / "made" / "fe2e" / "seed-0" / "model" / name).read_bytes())
    with pytest.raises(StoreError, match=r"learned from other weights than those in .*fe2e/seed-1"):
        train_all(small_study, chosen, moved)


@pytest.mark.trains
def test_encodings_come_near_a_teachers(store: Path, runs: Path, tmp_path: Path, margin: Margin) -> None:
    teacher = load_pretrained(runs / "made" / "fe2e" / "seed-0" / "model")
    dataset = items_of(
        study(store), Runs(variants(study(store), ["fe2e"])[0], (runs / "made" / "fe2e" / "seed-0" / "model",))
    )
    batch = collator(teacher.tokenizer, teacher.settings)([dataset[i] for i in range(8)])
    torch.manual_seed(1)
    pupil = MODELS["fe2e"].build(teacher.model.stored_settings().model_dump())
    losses = {"encoding-distillation": {"weight": 30.0}}
    config = TrainConfig(
        epochs=30,
        batch_size=8,
        lr=0.01,
        loss="cross-entropy",
        precision="fp32",
        losses=losses,
        schedule="constant",
        warmup=0.0,
    )
    objective = objective_of(config, pupil, teacher.label_set, teacher=teacher)
    trainer = Trainer(
        pupil, config, objective, batches=lambda epoch, start: [batch][start:], batches_per_epoch=1,
        evaluate=lambda model: {"score": 0.0}, folder=tmp_path,
    )  # fmt: skip

    def distance() -> float:
        with torch.no_grad():
            return float(encoding_loss(trainer.model.eval()(batch), teacher.model.eval()(batch)))

    before = distance()
    trainer.model.train()
    for _ in range(30):
        trainer.train_step(batch)
    # 0.01 to 0.04 over 3 seeds of a network of this size.
    margin("distance from the teacher, after : before", distance() / before, below=0.5)


@pytest.mark.parametrize(
    ("network", "message"),
    [({"dim": 16}, "has dim 8, the network 16"), ({"faces": None, "speech": None}, "no branch for faces or speech"),
     ({"speech": {"silence_db": 20.0}}, r"has speech\.silence_db None, the network 20\.0")],
)  # fmt: skip
def test_encodings_that_cannot_be_compared_are_named(
    store: Path, runs: Path, tmp_path: Path, network: dict[str, Any], message: str
) -> None:
    recipe = study(store).recipe("fe2e").model_dump()
    branch = recipe["network"]["speech"]
    wrong = {**recipe["network"], **network}
    if isinstance(wrong["speech"], dict):
        wrong["speech"] = {**branch, **wrong["speech"]}
    changed = {**recipe, "network": wrong, "teacher": runs / "made" / "fe2e" / "seed-0" / "model", "tokenizer": None,
               "training": {**recipe["training"], "losses": {"encoding-distillation": {}}}}  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        train(Recipe.parse(changed), tmp_path / "run")


def test_an_entry_that_starts_from_another_names_no_other_source(store: Path, tmp_path: Path) -> None:
    shared = {**study(store).shared, "teacher": "runs/other"}
    small_study = study(store, shared=shared, entries={"a": {"title": "A", "model": "fe2e"}},
                  sweep=[], ablation=[])  # fmt: skip
    with pytest.raises(ConfigError, match="has start_from or teacher beside `init_from`"):
        starting_from(small_study.recipe("a"), tmp_path)


def test_a_subset_starts_from_the_same_subset(store: Path) -> None:
    entries = {"fe2e": {"title": "FE2E", "model": "fe2e"}, "taught": STARTS}
    small_study = study(store, entries=entries, sweep=["taught"], ablation=["fe2e", "taught"])
    (voices,) = variants(small_study, ["taught"], "A")
    assert (voices.key, voices.init_from and voices.init_from.key) == ("taught-A", "fe2e-A")
    assert voices.recipes[0].training.lr_scale == {}
    (words,) = variants(small_study, ["taught"], "T")
    assert (words.key, words.title) == ("taught-T", "taught (after FE2E) T")
    assert words.init_from is not None
    assert words.init_from.key == "fe2e-T"
    assert words.recipes[0].training.losses == {}, "words have no frames"
    rests = {**STARTS["training"], "lr_scale": {"encoders.text": 0, "heads.text": 0, "fusion": 0}}
    small_study = study(store, entries={**entries, "taught": {**STARTS, "training": rests}}, sweep=["taught"])
    (words,) = variants(small_study, ["taught"], "T")
    assert (words.key, words.title, words.init_from) == ("fe2e-T", "taught (after FE2E) T, all frozen", None)


def test_an_entry_starts_only_from_one_before_it(store: Path) -> None:
    with pytest.raises(ConfigError, match=r"taught: init_from names 'fe2e', not an entry before it \(none\)"):
        study(store, entries={"taught": STARTS, "fe2e": {"title": "FE2E", "model": "fe2e"}}, sweep=[], ablation=[])


def test_what_is_looked_into_is_what_is_scored(store: Path, tmp_path: Path) -> None:
    split = {"kind": "random", "by": "speaker", "dev_share": 0.3, "test_share": 0.3, "seed": 1}
    small_study = study(store, part="test", seeds=1, shared={**study(store).shared, "split": split})
    (made,) = train_all(small_study, variants(small_study, ["mesm"]), tmp_path)
    (scored,) = score_all(small_study, made)
    assert items_of(small_study, made).ids == scored.predictions.ids
    assert 0 < len(scored.predictions.ids) < 20


def test_the_table_has_means_over_seeds_and_what_was_published(store: Path, runs: Path) -> None:
    page = REPRODUCTIONS["mesm/table"](study(store), runs, "cpu", None)
    values = []
    for seed in range(2):
        done = evaluate(runs / "made" / "mesm" / f"seed-{seed}" / "model", store, "dev", intervals=False)
        values.append(accuracy(done.predictions.logits.numpy().argmax(1), done.predictions.target.numpy()))
    (row,) = (r for r in page.numbers["rows"] if r["title"] == "MESM")
    assert row["scores"]["accuracy"]["seeds"] == pytest.approx(tuple(values))
    assert row["scores"]["accuracy"]["mean"] == pytest.approx(fmean(values))
    low, high = row["scores"]["accuracy"]["interval"]
    assert low <= fmean(values) <= high
    assert "| MESM | 88.2/62.8 |" in page.markdown
    assert f"{fmean(values):.3f} (" in page.markdown
    assert "16 items of 4 speakers, 2 seeds each" in page.markdown


def test_scores_over_seeds_are_those_of_the_same_items(store: Path, runs: Path) -> None:
    done = [evaluate(runs / "made" / n / "seed-0" / "model", store, "dev", intervals=False) for n in ("fe2e", "mesm")]
    other = evaluate(runs / "made" / "mesm" / "seed-0" / "model", store, "train", intervals=False, allow_overlap=True)
    apart = difference_over_seeds("accuracy", done[:1], done[1:])
    assert apart.value == pytest.approx(over_seeds("accuracy", done[:1]).value - over_seeds("accuracy", done[1:]).value)
    same = difference_over_seeds("accuracy", done[:1], done[:1])
    assert same.interval is not None
    assert (same.value, same.interval.low, same.interval.high) == (0, 0, 0)
    with pytest.raises(ConfigError, match="other items"):
        over_seeds("accuracy", [done[0], other])


def test_the_sweep_changes_the_selection_without_training(store: Path, runs: Path) -> None:
    before = {path: path.read_bytes() for path in runs.rglob("model.safetensors")}
    page = REPRODUCTIONS["mesm/top-p"](study(store), runs, "cpu", None)
    assert before == {path: path.read_bytes() for path in runs.rglob("model.safetensors")}
    points = {(p["network"], p["top_p"]): p for p in page.numbers["points"]}
    assert list(points) == [("MESM", 0.3), ("MESM", 1.0), ("by chance", 0.3), ("by chance", 1.0)]
    assert points["MESM", 0.3]["gflops"] < points["MESM", 1.0]["gflops"]
    assert all(share == 1.0 for share in points["MESM", 1.0]["selected"].values())
    assert all(0.25 < points["by chance", 0.3]["selected"][f"{b} block 1"] < 0.35 for b in ("faces", "speech"))
    assert page.files["top-p.svg"].startswith("<svg")
    assert [row["title"] for row in page.numbers["fixed"]] == ["FE2E"]


def test_the_ablation_trains_each_subset(store: Path, tmp_path: Path) -> None:
    page = REPRODUCTIONS["mesm/ablation"](study(store, seeds=1), tmp_path, "cpu", None)
    assert [row["title"] for row in page.numbers["rows"]] == [
        f"FE2E {s}" for s in ("TAV", "TA", "TV", "AV", "T", "A", "V")
    ]
    assert load_pretrained(tmp_path / "made" / "fe2e-TV" / "seed-0" / "model").card.modalities == ("faces", "text")


def test_selected_positions_are_counted_by_region(store: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_study = study(store)
    (made,) = train_all(small_study, variants(small_study, ["mesm"]), runs)
    # Faces of noise have no landmarks.
    monkeypatch.setattr(
        attention, "landmarks_of", lambda faces: (TEMPLATE.expand(len(faces), 5, 2), torch.ones(len(faces)))
    )
    seen = look(made.model(), items_of(small_study, made), [0.3, 1.0], 0.3)
    assert (seen.faces, seen.unclear) == (32, 0)
    assert list(seen.shares[1.0][0]) == ["all", *EMOTIONS[:2]]
    for block in range(3):
        assert seen.shares[1.0][block]["all"] == pytest.approx(seen.area[block]), "all selected: as much as there is"
        assert sum(seen.shares[0.3][block]["all"].values()) == pytest.approx(1)
        assert list(seen.area[block]) == list(REGIONS)
    page = REPRODUCTIONS["mesm/attention"](study(store), runs, "cpu", None)
    assert sorted(page.files) == ["attention.html", "clip-anger.png", "clip-disgust.png", "density.svg"]
    assert page.files["clip-anger.png"].startswith(b"\x89PNG")
    assert "1 is what a blind selection has" in page.markdown


def test_faces_of_noise_have_no_clear_landmarks(store: Path, runs: Path) -> None:
    small_study = study(store)
    (made,) = train_all(small_study, variants(small_study, ["mesm"]), runs)
    with pytest.raises(ConfigError, match="no faces in which landmarks are found"):
        look(made.model(), items_of(small_study, made), [0.3], 0.3)


def test_landmarks_have_the_order_that_regions_want(monkeypatch: pytest.MonkeyPatch) -> None:
    """O-Net gives five x, then five y."""
    said = torch.arange(1, 11).float().div(10).repeat(3, 1)
    monkeypatch.setattr(attention, "_output_net", lambda: lambda faces: (None, torch.ones(len(faces)), said))
    points, certain = landmarks_of(torch.zeros(3, 3, 48, 48, dtype=torch.uint8))
    expected = torch.tensor([[0.1, 0.6], [0.2, 0.7], [0.3, 0.8], [0.4, 0.9], [0.5, 1.0]])
    torch.testing.assert_close(points, expected.expand(3, 5, 2))
    assert certain.tolist() == [1, 1, 1]


def test_a_picture_of_a_clip_without_a_face(store: Path, runs: Path) -> None:
    small_study = study(store)
    (made,) = train_all(small_study, variants(small_study, ["mesm"]), runs)
    model = made.model()
    assert isinstance(model.model, MESM)
    batch = collator(model.tokenizer, model.settings)([items_of(small_study, made)[0]])
    assert clip_picture(model, replace(batch, faces=None, faces_mask=None), "x").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("what", "changes", "words"),
    [
        ("mesm/top-p", {"sweep": []}, "names no networks for a sweep"),
        ("mesm/top-p", {"sweep": ["fe2e"]}, "FE2E: selects every position"),
        ("mesm/top-p", {"sweep": ["mess"]}, "has no network 'mess', only fe2e, mesm, random"),
        ("mesm/ablation", {"ablation": []}, "names no networks for an ablation"),
        ("mesm/attention", {"sweep": []}, "names no networks for a sweep"),
    ],
)
def test_what_a_study_lacks_is_said(store: Path, runs: Path, what: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        REPRODUCTIONS[what](study(store, **changes), runs, "cpu", None)


def test_the_command_writes_the_page(store: Path, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(study(store).model_dump_json())
    command = [
        "reproduce",
        "mesm/table",
        str(tmp_path / "study.json"),
        "--out",
        str(runs),
        "--pages",
        str(tmp_path / "to"),
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "to" / "mesm-table.json").read_text())["study"] == "made"
    assert (tmp_path / "to" / "mesm-table.md").read_text().startswith("# Made up")
    wrong = CliRunner().invoke(app, ["reproduce", "mesm/tables", *command[2:]])
    assert wrong.exit_code != 0
    assert "there is mesm/table, mesm/top-p" in wrong.output


def test_mesm_starts_from_fe2es_branches(store: Path, runs: Path) -> None:
    """With everything selected, as it stands, it answers what FE2E answers."""
    source = runs / "made" / "fe2e" / "seed-0" / "model"
    fe2e = load_pretrained(source)
    start = {m: str(source) for m in ("faces", "speech", "text")}
    shared = {**study(store).shared, "start_from": start, "tokenizer": None}
    built = build(study(store, shared=shared, entries={
        "mesm": {"title": "M", "model": "mesm", "network": {"selection": "all"}},
    }, sweep=[], ablation=[]).recipe("mesm"), fe2e.label_set).eval()  # fmt: skip
    dataset = items_of(study(store), Runs(variants(study(store), ["fe2e"])[0], (source,)))
    batch = collator(fe2e.tokenizer, fe2e.settings)([dataset[i] for i in range(6)])
    with torch.no_grad():
        ours, theirs = built(batch), fe2e.model.eval()(batch)
    for modality in ("faces", "speech", "text"):
        torch.testing.assert_close(
            ours.modality_logits[modality], theirs.modality_logits[modality], rtol=1e-3, atol=1e-3
        )


def test_further_levels_begin_as_the_only_one(store: Path) -> None:
    settings = {**study(store).recipe("mesm").network, "labels": len(EKMAN)}
    one, four = (MESM(MESMConfig.parse({**settings, "levels": n})) for n in (1, 4))
    with torch.no_grad():
        for name, buffer in one.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(7)
    four.take_over_branch(one, "faces")
    for block, theirs in zip(four.encoders["faces"].blocks, one.encoders["faces"].blocks, strict=True):
        for number, norm in enumerate(block.more_norms):
            assert torch.equal(norm.running_mean, (theirs.bn1, theirs.bn2)[number % 2].running_mean)
    three = MESM(MESMConfig.parse({**settings, "levels": 3}))
    with pytest.raises(ConfigError, match="does not fit this network"):
        four.take_over_branch(three, "faces")


def test_seeds_that_would_be_too_large_are_refused_before_anything_is_trained(store: Path) -> None:
    shared = study(store).shared
    fits = study(store, shared={**shared, "training": {**shared["training"], "seed": MOST_SEED - 1}})
    assert variants(fits, ["fe2e"])[0].recipes[-1].training.seed == MOST_SEED
    over = study(store, shared={**shared, "training": {**shared["training"], "seed": MOST_SEED}})
    with pytest.raises(ConfigError, match=f"made: its last seed would be {MOST_SEED + 1}, which is above"):
        variants(over, ["fe2e"])


def test_items_are_looked_for_once_for_all_seeds(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr(module, "check_scored_items", lambda recipe, part: looked.append(recipe.training.seed))
    monkeypatch.setattr(module, "train_once", lambda *_: None)
    train_all(study(store), variants(study(store), ["fe2e"]), tmp_path, "cpu", None)
    assert looked == [0]

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from maeum.errors import ConfigError, ModelError, StoreError
from maeum.files import TEMPORARY
from maeum.models.encoders.text import HubTextConfig
from maeum.models.fe2e import FE2E, BranchConfig, FE2EConfig, TransformerConfig
from maeum.training.config import TrainConfig
from maeum.training.dropout import Dropout
from maeum.training.log import read_log
from maeum.training.loop import Progress, Trainer, bf16_is_native, learning_rate, rest_frozen_parts
from maeum.types import Batch
from objectives import objective_of

BRANCH = BranchConfig(
    widths=(4, 4, 4, 8), stem_blocks=1, hidden=8, dropout=0.3, transformer=TransformerConfig(layers=1, feedforward=16)
)
STEPS = 4
CONFIG = TrainConfig(
    epochs=3, batch_size=4, lr=1e-2, loss="cross-entropy", class_weights=False, patience=None, ema=0.9,
    schedule="cosine", warmup=0.2, precision="fp32", checkpoint_every_s=0.0,
)  # fmt: skip


class KilledError(Exception):
    pass


def make_model() -> FE2E:
    torch.manual_seed(0)
    return FE2E(FE2EConfig(labels=3, dim=8, faces=BRANCH, speech=None))


def batches(epoch: int, start: int) -> Iterator[Batch]:
    for i in range(start, STEPS):
        generator = torch.Generator().manual_seed(epoch * 100 + i)
        faces = torch.randint(0, 256, (4, 1, 3, 48, 48), generator=generator, dtype=torch.uint8)
        target = torch.randint(0, 3, (4,), generator=generator)
        yield Batch(tuple("abcd"), faces, torch.ones(4, 1, dtype=torch.bool), target=target)


def make_trainer(
    folder: Path, config: TrainConfig = CONFIG, die_at: int | None = None, scores: tuple[float, ...] = ()
) -> Trainer:
    given = iter(scores)

    def on_step(progress: Progress, total: int) -> None:
        assert total == STEPS
        if progress.step == die_at:
            raise KilledError

    def evaluate(model: nn.Module) -> dict[str, float]:
        return {"score": next(given) if scores else float(sum(p.sum() for p in model.parameters()).detach())}

    model = make_model()
    return Trainer(
        model,
        config,
        objective_of(config, model),
        batches=batches,
        batches_per_epoch=STEPS,
        evaluate=evaluate,
        folder=folder,
        on_step=on_step,
    )


@pytest.mark.trains
@pytest.mark.parametrize(("die_at", "accumulate"), [(1, 1), (4, 1), (6, 1), (9, 1), (4, 2), (6, 3)])
def test_a_killed_run_continues_exactly(tmp_path: Path, die_at: int, accumulate: int) -> None:
    config = CONFIG.model_copy(update={"accumulate": accumulate})
    make_trainer(tmp_path / "whole", config).fit()
    with pytest.raises(KilledError):
        make_trainer(tmp_path / "killed", config, die_at=die_at).fit()
    torch.manual_seed(99)  # another process would have another state
    make_trainer(tmp_path / "killed", config).fit()
    whole = torch.load(tmp_path / "whole" / "last.pt", weights_only=True)
    killed = torch.load(tmp_path / "killed" / "last.pt", weights_only=True)
    for part in ("model", "averaged"):
        for name, tensor in whole[part].items():
            assert torch.equal(tensor, killed[part][name]), name
    a, b = ((tmp_path / n / "log.jsonl").read_text().splitlines() for n in ("whole", "killed"))
    assert [json.loads(line) for line in a] == [json.loads(line) for line in b]


@pytest.mark.trains
def test_parts_draw_for_themselves_and_repeat(tmp_path: Path) -> None:
    ends = []
    for changes in ({"accumulate": 2}, {"accumulate": 2}, {}):
        folder = tmp_path / str(len(ends))
        make_trainer(folder, CONFIG.model_copy(update=changes)).fit()
        ends.append(torch.load(folder / "last.pt", weights_only=True)["model"])
    parted, again, whole = ends
    assert all(torch.equal(parted[name], again[name]) for name in whole)
    assert not all(torch.equal(whole[name], parted[name]) for name in whole)


@pytest.mark.trains
def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_trainer(tmp_path / name).fit()
    a, b = (torch.load(tmp_path / n / "best.pt", weights_only=True) for n in ("a", "b"))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_training_stops_when_dev_no_longer_improves_and_keeps_the_best(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"epochs": 10, "patience": 2})
    trainer, notes = make_trainer(tmp_path, config, scores=(0.1, 0.5, 0.4, 0.3, 0.2, 0.9)), []
    trainer.notify = notes.append
    progress = trainer.fit()
    assert progress.best_epoch == 2
    assert progress.epoch == 4
    assert notes == ["Stopped after epoch 4 of 10: dev was best in epoch 2, and training.patience is 2."]
    assert [(line["epoch"], line["best_epoch"]) for line in read_log(tmp_path)] == [(1, 1), (2, 2), (3, 2), (4, 2)]


@pytest.mark.parametrize(
    ("scores", "epochs", "noted"),
    [
        ((0.1, 0.2, 0.2, 0.2, 0.9), 10, "After 4 of 10 epochs"),
        ((0.1, 0.2, 0.2, 0.31, 0.9), 10, None),
        ((0.1, 0.2, 0.2, 0.9, 0.9), 5, "After 3 of 5 epochs"),
        ((0.1, 0.2), 2, None),
        ((0.1,), 1, None),
    ],
)
def test_a_training_that_is_no_better_than_chance_says_so_after_a_third(
    tmp_path: Path, scores: tuple[float, ...], epochs: int, noted: str | None
) -> None:
    config = CONFIG.model_copy(update={"epochs": epochs})
    trainer, notes = make_trainer(tmp_path, config, scores=(*scores, *[0.9] * 5)), []
    trainer.notify, trainer.chance = notes.append, 0.3
    trainer.fit()
    assert len(notes) == (noted is not None)
    assert all(noted is not None and noted in note and "no better than chance" in note for note in notes)


def test_a_run_that_goes_on_or_is_finished_says_so(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        make_trainer(tmp_path, die_at=6).fit()
    said = []
    for _ in range(2):
        trainer, notes = make_trainer(tmp_path), []
        trainer.notify = notes.append
        trainer.fit()
        said += notes
    assert said == [
        "This run was begun before: it goes on after 1 of 3 epochs and 1 batch.",
        "This run was finished before, with 3 of 3 epochs: nothing is trained.",
    ]


def test_the_log_of_an_earlier_version_is_read_with_epochs_from_one(tmp_path: Path) -> None:
    lines = [{"epoch": i, "best_epoch": min(i, 1), "score": 0.5} for i in range(3)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [(line["epoch"], line["best_epoch"]) for line in read_log(tmp_path)] == [(1, 1), (2, 2), (3, 2)]


def test_the_checkpoint_of_an_earlier_version_is_refused_with_a_remedy(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit()
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    del state["epochs_from"]
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(StoreError, match=r"earlier version of maeum.*in another folder"):
        make_trainer(tmp_path).fit()


def test_other_settings_do_not_continue_a_run(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit()
    with pytest.raises(StoreError, match="other training settings"):
        make_trainer(tmp_path, CONFIG.model_copy(update={"lr": 1e-3})).fit()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit()
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:1000])
    with pytest.raises(StoreError, match=r"last\.pt"):
        make_trainer(tmp_path).fit()


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit()
    before = (tmp_path / "last.pt").read_bytes()
    trainer = make_trainer(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))  # as on a full disk, in the middle of the file
    try:
        with pytest.raises(StoreError, match=r"last\.pt: cannot be written: File too large"):
            trainer.save_checkpoint()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "last.pt").read_bytes() == before
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(TEMPORARY)]


def test_learning_rate_warms_up_then_falls_to_zero(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, CONFIG.model_copy(update={"epochs": 100}))
    factors = []
    for step in range(trainer.total_steps + 1):
        trainer.progress.step = step
        factors.append(trainer.lr_factor())
    peak = max(range(len(factors)), key=factors.__getitem__)
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[peak] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.0, abs=1e-6)


def test_without_a_learning_rate_it_is_that_of_what_is_trained() -> None:
    sizes = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "vocab_size": 9,
    }
    text = HubTextConfig(architecture={"model_type": "roberta", **sizes})
    hub = FE2E(FE2EConfig(labels=3, dim=8, faces=None, speech=None, text=text))
    assert learning_rate(make_model(), TrainConfig()) == 3e-4
    assert learning_rate(hub, TrainConfig()) == 3e-5
    assert learning_rate(hub, TrainConfig(lr=0.1)) == 0.1
    hub.encoders["text"].requires_grad_(False)
    assert learning_rate(hub, TrainConfig()) == 3e-4


def test_bf16_is_left_alone_where_torch_may_not_use_the_vector_units_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    for capability, native in (("DEFAULT", False), ("AVX2", False), ("AVX512", True)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        assert bf16_is_native(torch.device("cpu")) == native


def test_dropout_of_every_network_is_the_quick_one(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    kinds = [type(module) for model in (trainer.model, trainer.averaged) for module in model.modules()]
    assert Dropout in kinds
    assert torch.nn.Dropout not in kinds


def test_parts_learn_at_their_own_rate_and_frozen_ones_rest(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"lr_scale": {"": 0.0, "heads": 0.5}, "epochs": 1, "ema": 0.0})
    trainer = make_trainer(tmp_path, config)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    trainer.fit()
    changed = {k for k, v in trainer.model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"heads.faces.weight", "heads.faces.bias"}
    assert [group["scale"] for group in trainer.optimizer.param_groups] == [0.5, 0.5]
    trainer.model.train()
    rest_frozen_parts(trainer.model)
    assert not trainer.model.get_submodule("encoders").training
    assert trainer.model.get_submodule("heads").training


def test_faces_are_shrunk_for_the_scheduled_part_of_training(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"face_sizes": ((0.0, 32), (0.5, 48))})
    trainer = make_trainer(tmp_path, config)
    batch = next(batches(0, 0))
    small = trainer.at_scheduled_size(batch).faces
    trainer.progress.step = trainer.total_steps // 2
    whole = trainer.at_scheduled_size(batch).faces
    assert small is not None
    assert whole is not None
    assert small.shape == (4, 1, 3, 32, 32)
    assert whole.shape == (4, 1, 3, 48, 48)
    assert abs(small.mean() - whole.float().mean()) < 2


def test_a_loss_that_is_not_finite_names_the_clips(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    with torch.no_grad():
        trainer.model.get_submodule("heads.faces").bias[0] = float("nan")
    with pytest.raises(ModelError, match="'a', 'b', 'c'"):
        trainer.train_step(next(batches(0, 0)))


def test_a_learning_rate_for_a_part_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'encoder\.faces'.*Names start with encoders, fusion, heads, sequences"):
        make_trainer(tmp_path, CONFIG.model_copy(update={"lr_scale": {"encoder.faces": 0.1}}))
    with pytest.raises(ConfigError, match="freezes every parameter"):
        make_trainer(tmp_path, CONFIG.model_copy(update={"lr_scale": {"": 0.0}}))


def test_a_checkpoint_that_is_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"no checkpoint")
    with pytest.raises(StoreError, match=r"last\.pt: the checkpoint cannot be read"):
        make_trainer(tmp_path).fit()

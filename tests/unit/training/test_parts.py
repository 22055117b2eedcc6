"""A batch in parts, by one process or several: the gradient and the outcome of the whole."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import objectives
from maeum.models.mmer import MMER, MMERConfig
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.training.config import TrainConfig
from maeum.training.parts import backward, split
from maeum.types import Batch
from objectives import objective_of

WAV2VEC2 = {
    "model_type": "wav2vec2", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "conv_dim": [8, 8], "conv_kernel": [10, 8], "conv_stride": [10, 16],
    "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
    "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0,
    "layerdrop": 0.0,
}  # fmt: skip
TASKS = TrainConfig(
    loss="cross-entropy",
    losses={
        "ctc": {"weight": 0.3},
        "supervised-contrastive": {"weight": 0.5},
        "augmented-contrastive": {"weight": 0.7},
    },
    epochs=1,
)


def small() -> MMER:
    torch.manual_seed(0)
    sizes = {"labels": 3, "dim": 8, "heads": 2, "feedforward": 12, "project": 6, "dropout": 0.0}
    speech = {"kind": "hub", "architecture": WAV2VEC2, "mask_time": 0.0}
    text = {"kind": "small", "vocabulary": 20, "width": 8, "token_dropout": 0.0, "embedding_dropout": 0.0}
    settings = {**sizes, "speech": speech, "text": text, "characters": ("", "A", "B"), "freeze_text": False}
    return MMER(MMERConfig.parse(settings)).train()


def batch_of(n: int, seed: int = 0, silent: tuple[int, ...] = (), twinless: tuple[int, ...] = ()) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def draw(rows: int) -> Batch:
        lengths = torch.randint(600, 2400, (rows,), generator=generator)
        words = torch.randint(1, 6, (rows,), generator=generator)
        spoken = torch.randint(1, 3, (rows,), generator=generator)
        return Batch(
            tuple(map(str, range(rows))),
            wave=torch.randn(rows, 2400, generator=generator),
            wave_mask=torch.arange(2400) < lengths.unsqueeze(1),
            tokens=torch.randint(1, 20, (rows, 5), generator=generator),
            tokens_mask=torch.arange(5) < words.unsqueeze(1),
            transcript_ids=torch.randint(1, 3, (rows, 2), generator=generator),
            transcript_mask=torch.arange(2) < spoken.unsqueeze(1),
            target=torch.randint(0, 3, (rows,), generator=generator),
        )

    whole = draw(n)
    assert whole.wave_mask is not None
    for i in silent:
        whole.wave_mask[i] = False
    has_view = torch.tensor([i not in twinless for i in range(n)])
    view = draw(int(has_view.sum())) if has_view.any() else None
    return Batch(**{**vars(whole), "view": view, "has_view": has_view if view is not None else None})


def gradients(model: MMER) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 7),
    parts=st.integers(2, 8),
    seed=st.integers(0, 100),
    silent=st.sets(st.integers(0, 6), max_size=3),
    twinless=st.sets(st.integers(0, 6), max_size=7),
)
def test_the_gradient_is_that_of_the_whole(n: int, parts: int, seed: int, silent: set[int], twinless: set[int]) -> None:
    batch = batch_of(n, seed, tuple(i for i in silent if i < n), tuple(twinless))
    whole, parted = small(), small()
    loss, made_of = objective_of(TASKS, whole)(whole, batch)
    loss.backward()
    found, also_made_of = backward(objective_of(TASKS, parted), parted, batch, parts, seed=0)
    torch.testing.assert_close(found, loss.detach(), rtol=1e-4, atol=1e-5)
    assert also_made_of == pytest.approx(made_of, rel=1e-3, abs=1e-4)
    expected, mine = gradients(whole), gradients(parted)
    for name in expected:
        other = mine.get(name, torch.zeros_like(expected[name]))
        torch.testing.assert_close(other, expected[name], rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_running_statistics_and_counted_steps_move_once() -> None:
    """The small speech encoder has batch norms, which each part moves; the second answer does not move them again."""
    torch.manual_seed(0)
    sizes = {"labels": 3, "dim": 8, "heads": 2, "feedforward": 12, "project": 6, "dropout": 0.0}
    speech = {"kind": "small", "widths": [4, 6], "dim": 8, "heads": 2, "feedforward": 8, "layers": 1, "dropout": 0.0}
    model = MMER(MMERConfig.parse({**sizes, "speech": speech, "text": None})).train()
    generator = torch.Generator().manual_seed(1)
    mel_chunks = torch.randn(6, 2, 1, 128, 32, generator=generator) * 3 - 6
    mask = torch.ones(6, 2, dtype=torch.bool)
    batch = Batch(tuple("abcdef"), mel_chunks=mel_chunks, mel_chunks_mask=mask, target=torch.arange(6) % 3)
    start = {name: tensor.clone() for name, tensor in model.named_buffers()}
    after = []
    for part in split(batch, 3):
        for name, tensor in model.named_buffers():
            tensor.copy_(start[name])
        torch.manual_seed(0)
        model(part)
        after.append({name: tensor.clone() for name, tensor in model.named_buffers()})
    for name, tensor in model.named_buffers():
        tensor.copy_(start[name])
    backward(objective_of(TrainConfig(loss="cross-entropy"), model), model, batch, 3, seed=0)
    for name, tensor in model.named_buffers():
        expected = torch.stack([one[name].float() for one in after]).mean(0)
        torch.testing.assert_close(tensor.float(), expected, rtol=1e-2, atol=1e-2, msg=lambda m, n=name: f"{n}: {m}")
        assert name.endswith("num_batches_tracked") or not torch.equal(tensor, start[name])


def test_what_is_drawn_in_the_first_pass_is_drawn_again_in_the_second() -> None:
    """Else gradients would be of other masks than the loss; with dropout the loss falls along its own gradient."""
    model = small()
    model.dropout.p = 0.5
    batch, steps = batch_of(6), 1e-3
    before, _ = backward(objective_of(TASKS, model), model, batch, 3, seed=4)
    slopes = gradients(model)
    length = sum(g.square().sum() for g in slopes.values())
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name in slopes:
                p -= steps * slopes[name] / length.sqrt()
    after, _ = backward(objective_of(TASKS, model), model, batch, 3, seed=4)
    assert float(before - after) == pytest.approx(steps * float(length.sqrt()), rel=0.1)


def test_parts_are_of_like_size_and_their_twins_go_with_them() -> None:
    batch = batch_of(7, twinless=(1, 4))
    pieces = split(batch, 3)
    assert [len(p) for p in pieces] == [2, 3, 2]
    assert [0 if p.view is None else len(p.view) for p in pieces] == [1, 2, 2]
    assert sum((p.ids for p in pieces), ()) == batch.ids
    assert batch.view is not None
    assert batch.view.wave is not None
    views = [p.view.wave for p in pieces if p.view is not None and p.view.wave is not None]
    assert torch.equal(torch.cat(views), batch.view.wave)
    assert len(split(batch, 20)) == 7


SCRIPT = textwrap.dedent("""
    import sys
    import torch
    from pathlib import Path
    torch.set_num_threads(1)
    sys.path[:0] = [{here!r}, {tests!r}]
    from test_parts import TASKS, batch_of, objective_of, small
    from maeum.training.loop import Trainer
    from maeum.training.processes import launched

    processes, device = launched("cpu")
    contrast = {{"weight": 0.5, "memory": 4}}
    changes = {{"epochs": 2, "lr": 0.01, **{parts}, "optimizer": "adamw", "weight_decay": 0.1,
               "losses": {{**TASKS.losses, "supervised-contrastive": contrast}}, "checkpoint_every_s": 0.0,
               "precision": "fp32"}}
    config = TASKS.model_copy(update=changes)
    model = small()
    model.dropout.p = 0.3
    trainer = Trainer(
        model, config, objective_of(config, model),
        batches=lambda epoch, start: [batch_of(6, 10 * epoch + i) for i in range(start, 3)],
        batches_per_epoch=3, evaluate=lambda m: {{"score": float(m.head.bias.sum())}}, folder=Path({folder!r}),
        processes=processes,
    )
    trainer.fit()
    if processes.rank == 0:
        memory = trainer.objective.losses["supervised-contrastive"].memory.features
        torch.save({{"model": model.state_dict(), "memory": memory}}, {folder!r} + "/end.pt")
    processes.wait()
    if {command}:
        from maeum.cli import main

        sys.argv = ["maeum", *{command}]
        main()
""")


def training_command(folder: Path) -> list[str]:
    """The arguments of ``maeum train`` for a network that one epoch on a few sentences trains."""
    words = {"happiness": "what a lovely day", "anger": "leave me alone", "sadness": "so sad i could cry"}
    rows = [f",{text} {i},{label},s{i % 8},{'dev' if i % 8 > 5 else 'train'}" for i in range(8)
            for label, text in words.items()]  # fmt: skip
    (folder / "source").mkdir()
    (folder / "source" / "table.csv").write_text("\n".join(["path,text,label,speaker,part", *rows]) + "\n")
    prepare("folder", folder / "source", folder / "store", PrepareConfig(options={"labels": list(words)}))
    text = {"kind": "small", "vocabulary": 60, "width": 8, "channels": 8, "dim": 8}
    data = [{"store": str(folder / "store")}]
    recipe = {
        "name": "few", "network": {"dim": 8, "faces": None, "speech": None, "text": text},
        "tokenizer": {"kind": "small", "vocabulary": 60}, "train": data, "dev": data,
        "training": {"epochs": 1, "batch_size": 6, "precision": "fp32"},
    }  # fmt: skip
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return ["train", str(folder / "recipe.json"), "--out", str(folder / "trained")]


@pytest.mark.trains
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """Started by torchrun, with gloo; dropout, both contrasts, the memory and the decay of weights included.

    What `maeum train` prints is printed once: the second process had printed the final scores, too.
    """
    ends, command = [], training_command(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here, tests = str(Path(__file__).parent), str(Path(objectives.__file__).parent)
    several = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    two, four = {"accumulate": 2}, {"accumulate": 4}
    runs = {"one": (two, [sys.executable]), "two": ({}, several), "four": (four, [sys.executable]),
            "two by two": (two, several)}  # fmt: skip
    for name, (parts, start) in runs.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.py").write_text(SCRIPT.format(
            here=here, tests=tests, parts=parts, folder=str(folder), command=command if name == "two" else []
        ))  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*start, str(folder / "run.py")], capture_output=True, text=True, env=environment, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert len((folder / "log.jsonl").read_text().splitlines()) == 2
        for line in ("epoch 1", "the best was 1; model: ", "dev uar ", "dev accuracy "):
            assert done.stdout.count(line) == (name == "two"), (line, done.stdout)
        ends.append(torch.load(folder / "end.pt", weights_only=True))
    for one, other in (ends[:2], ends[2:]):
        torch.testing.assert_close(one["memory"], other["memory"], rtol=1e-5, atol=1e-6)
        for name in one["model"]:
            # Attention is blind to the bias of its keys: its gradient is rounding, of which Adam makes whole steps.
            if not name.endswith(("key.bias", "k_proj.bias")):
                torch.testing.assert_close(one["model"][name], other["model"][name], rtol=1e-5, atol=5e-6)
        torch.manual_seed(0)
        assert not torch.equal(one["model"]["head.weight"], small().head.weight)

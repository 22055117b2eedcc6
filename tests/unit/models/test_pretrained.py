from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from maeum.errors import ConfigError, ModelError
from maeum.labels import EKMAN
from maeum.models.card import BranchLicence, ModelCard, Score
from maeum.models.caution import Caution
from maeum.models.encoders.text import SmallTextConfig
from maeum.models.encoders.tokenizer import train_tokenizer
from maeum.models.fe2e import FE2E, BranchConfig, FE2EConfig, TransformerConfig
from maeum.models.pretrained import (
    Calibration,
    available,
    embedded_folder,
    load_pretrained,
    save_pretrained,
    subset_name,
    write_calibration,
    write_card,
)
from maeum.models.published.fe2e import read_checkpoint
from maeum.types import Batch

BRANCH = BranchConfig(widths=(4, 4, 4, 8), stem_blocks=1, hidden=8, transformer=TransformerConfig(layers=1))
CARD = ModelCard(name="try", title="A try", licence="CC BY-NC 4.0", non_commercial=True, parameters=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    text = SmallTextConfig(vocabulary=20, width=8, channels=4, dim=8)
    model = FE2E(FE2EConfig(labels=7, dim=8, faces=BRANCH, speech=None, text=text))
    with torch.no_grad():
        model.fusion.weight.copy_(torch.tensor([[0.5, 2.0]]))
    calibration = Calibration(temperatures={"faces": 2.0, "text": 4.0, "faces+text": 3.0})
    save_pretrained(tmp_path / "m", kind="fe2e", model=model, label_set=EKMAN, card=CARD, calibration=calibration,
                    tokenizer=train_tokenizer(["a few words"] * 4, 20), precision="float16")  # fmt: skip
    return tmp_path / "m"


def make_batch() -> Batch:
    """Both modalities; faces alone; words alone."""
    return Batch(
        ("both", "faces", "text"),
        faces=torch.randint(0, 256, (3, 1, 3, 48, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8),
        faces_mask=torch.tensor([[True], [True], [False]]),
        tokens=torch.tensor([[3, 4], [0, 0], [5, 6]]),
        tokens_mask=torch.tensor([[True, True], [False, False], [True, True]]),
    )


def test_each_set_of_modalities_has_its_own_temperature(folder: Path) -> None:
    loaded = load_pretrained(folder)
    output = loaded.model(make_batch())
    fused, own, _ = loaded.probabilities(output)
    expected = torch.stack([(output.logits[i] / t).softmax(0) for i, t in enumerate((3.0, 2.0, 4.0))])
    torch.testing.assert_close(fused, expected)
    torch.testing.assert_close(own["faces"][1], fused[1])  # alone, a modality's own answer is the answer
    torch.testing.assert_close(own["text"][2], fused[2])


def test_thresholds_are_kept_and_were_not_always_there(folder: Path) -> None:
    assert set(load_pretrained(folder).thresholds.values()) == {0.5}
    text = (folder / "config.json").read_text()
    assert '"thresholds": null' in text
    (folder / "config.json").write_text(re.sub(r',\s*"thresholds": null', "", text))
    assert load_pretrained(folder).calibration.thresholds is None
    given = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35]
    (folder / "config.json").write_text(text.replace('"thresholds": null', f'"thresholds": {given}'))
    assert load_pretrained(folder).thresholds == dict(zip(EKMAN.names, given, strict=True))
    (folder / "config.json").write_text(text.replace('"thresholds": null', '"thresholds": [0.5]'))
    with pytest.raises(ModelError, match="1 threshold for 7 labels"):
        load_pretrained(folder)


def test_shares_sum_to_one_and_absent_modalities_have_none(folder: Path) -> None:
    loaded = load_pretrained(folder)
    _, _, shares = loaded.probabilities(loaded.model(make_batch()))
    torch.testing.assert_close(shares["faces"] + shares["text"], torch.ones(3))
    assert shares["faces"][2] == 0
    assert shares["text"][1] == 0


def test_half_precision_weights_are_computed_in_single(folder: Path) -> None:
    loaded = load_pretrained(folder)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert not loaded.model.training


def test_the_card_travels_with_the_weights(folder: Path) -> None:
    card = load_pretrained(folder).card
    assert card.licence == "CC BY-NC 4.0"
    assert card.non_commercial
    assert card.bytes == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "card.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_pretrained(folder)


def test_damaged_weights_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_pretrained(folder)


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"hidden": 8', '"hidden": 9'))
    with pytest.raises(
        ModelError,
        match=r"do not fit the network of config\.json: \S+ is [\d x]*8[\d x]*, and [\d x]*9[\d x]* in the network",
    ):
        load_pretrained(folder)


def test_an_unknown_setting_is_named_with_the_nearest_right_one(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"max_frames"', '"max_frame"'))
    with pytest.raises(ConfigError, match=r"max_frame.*did you mean inputs.max_frames"):
        load_pretrained(folder)


@pytest.mark.parametrize("name", ["no-such-model", "./no/such/folder", "~/nothing"])
def test_an_unknown_name_says_what_there_is(name: str) -> None:
    with pytest.raises(ModelError, match="embedded"):
        load_pretrained(name)


def test_a_hub_name_offline_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="nobody/nothing"):
        load_pretrained("nobody/nothing")


def test_a_hub_model_in_the_cache_needs_no_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    cached = tmp_path / "hub" / "models--some--model"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("a" * 40)
    shutil.copytree(folder, cached / "snapshots" / ("a" * 40))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert load_pretrained("some/model").card.name == "try"
    (cached / "snapshots" / ("a" * 40) / "card.json").unlink()  # a download that was interrupted
    with pytest.raises(
        ModelError, match=r"some/model: this model is not in the local cache.*out of reach.*hf download"
    ):
        load_pretrained("some/model")


def test_a_device_that_is_not_there_is_answered_as_on_the_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(torch.nn.Module, "to", refuse)
    with pytest.raises(ModelError, match=r"'cuda' cannot be used: Torch not compiled .*\. Use --device cpu"):
        load_pretrained(folder, device="cuda")


def test_an_unknown_device_is_explained(folder: Path) -> None:
    with pytest.raises(ModelError, match="device 'abacus'"):
        load_pretrained(folder, device="abacus")


def test_a_folder_that_cannot_be_made_is_an_error(folder: Path) -> None:
    loaded = load_pretrained(folder)
    with pytest.raises(ModelError, match="cannot be written"):
        save_pretrained(Path("/proc/nothing"), kind="fe2e", model=loaded.model, label_set=EKMAN, card=CARD,
                        tokenizer=loaded.tokenizer)  # fmt: skip


def test_names_of_sets_do_not_depend_on_order() -> None:
    assert subset_name(("text", "faces")) == "faces+text"


def test_the_embedded_model_states_its_licence_and_fits() -> None:
    (card,) = available()
    assert card.non_commercial
    assert "CC BY-NC-SA" in card.licence
    assert sum(p.stat().st_size for p in embedded_folder().rglob("*") if p.is_file()) < 64e6
    assert set(card.labels) == set(EKMAN.names)
    assert set(card.modalities) == {"faces", "speech", "text"}
    assert {s.name for s in card.scores} >= {"accuracy", "uar", "macro_f1", "ece"}
    words = load_pretrained(modalities=["text"]).card
    assert (words.licence, words.non_commercial) == ("Apache-2.0", False), "words alone are free for commercial use"
    assert all("Apache-2.0" in data for data in words.data)
    assert load_pretrained(modalities=["speech", "text"]).card.non_commercial


def test_a_network_that_reads_text_needs_its_tokenizer(folder: Path, tmp_path: Path) -> None:
    loaded = load_pretrained(folder)
    with pytest.raises(ConfigError, match="reads text, and comes without its tokenizer"):
        save_pretrained(tmp_path / "n", kind="fe2e", model=loaded.model, label_set=EKMAN, card=CARD)
    shutil.rmtree(folder / "tokenizer")
    with pytest.raises(ModelError, match="reads text, but the folder tokenizer is missing"):
        load_pretrained(folder)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda c: [c], r"config\.json: holds no settings"),
        (lambda c: c | {"labels": {"names": ["a", "b", "c"]}}, "has 3 labels for 7 outputs of its network"),
        (lambda c: c | {"labels": {"names": "abc"}}, r"config\.json: a label set needs a list of names"),
        (lambda c: c | {"labels": 3}, r"config\.json: labels = 3"),
        (lambda c: c | {"model": "fe3e"}, r"config\.json: unknown network 'fe3e'"),
        (lambda c: c | {"network": c["network"] | {"dim": "x"}}, r"config\.json: dim = 'x'"),
        (lambda c: c | {"network": c["network"] | {"dim": -8}}, r"config\.json: "),
        *[
            (lambda c, t=t: c | {"calibration": {"temperatures": {"faces": t}}}, r"config\.json: calibration\.temp")
            for t in (0, -1.5, float("nan"), float("inf"), "hot")
        ],
        (lambda c: c | {"calibration": {"thresholds": [float("nan")] * 7}}, r"calibration\.thresholds\.0 = nan"),
        (lambda c: c | {"calibration": {"margins": {"faces": [float("inf")] * 7}}}, r"calibration\.margins"),
    ],
)
def test_an_edited_config_is_one_clear_error(folder: Path, edit: Callable[[Any], object], problem: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises((ModelError, ConfigError), match=problem) as error:
        load_pretrained(folder)
    assert len(str(error.value).splitlines()) == 1


def without_hash(folder: Path) -> None:
    """As an earlier release wrote it."""
    config = json.loads((folder / "config.json").read_text())
    del config["weights_sha256"]
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda w: w | {"fusion.weight": w["fusion.weight"].repeat(1, 2)}, r"fusion\.weight is 1 x 4, and 1 x 2 in"),
        (lambda w: {n: t for n, t in w.items() if n != "fusion.weight"}, r"fusion\.weight is missing"),
        (lambda w: w | {"more": w["fusion.weight"].clone()}, "the network has no more"),
        (
            lambda w: w | {"fusion.weight": w["fusion.weight"] * float("nan")},
            r"of fusion\.weight hold numbers that are",
        ),
    ],
)
def test_edited_weights_are_told_by_their_hash_or_by_what_is_wrong(
    folder: Path, edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], problem: str
) -> None:
    path = folder / "model.safetensors"
    save_file(edit(load_file(path)), path)
    with pytest.raises(ModelError, match=r"model\.safetensors: the weights are not those .* \(another SHA-256\)"):
        load_pretrained(folder)
    without_hash(folder)
    with pytest.raises(ModelError, match=problem):
        load_pretrained(folder)


def test_a_folder_of_an_earlier_release_has_no_hash(folder: Path) -> None:
    without_hash(folder)
    assert load_pretrained(folder).card.name == "try"


def test_torchs_advice_to_run_code_is_not_passed_on(tmp_path: Path) -> None:
    torch.save({"a": Path("x")}, tmp_path / "x.pt")
    with pytest.raises(ModelError, match=r"cannot be read safely: it is damaged, or holds more than tensors$") as error:
        read_checkpoint(tmp_path / "x.pt")
    assert "weights_only" not in str(error.value)


def test_a_branch_loaded_alone_brings_its_own_licence(folder: Path) -> None:
    whole = load_pretrained(folder)
    scores = tuple(Score(name="uar", data=f"x dev, {m}", value=0.5) for m in ("faces", "text", "faces+text"))
    notes = ("x dev, text: 4 speakers only", "x dev, faces: 4 speakers only", "Prediction sets hold, of the whole.")
    free = BranchLicence(licence="Apache-2.0", non_commercial=False, data=("comments: Apache-2.0",))
    bound = BranchLicence(licence="CC BY-NC 4.0", non_commercial=True, data=("pictures: CC BY-NC 4.0",))
    card = whole.card.model_copy(update={"branches": {"faces": bound, "text": free}, "scores": scores,
                                         "notes": notes, "modalities": ("faces", "text")})  # fmt: skip
    write_card(folder, card)
    assert "## A branch by itself" in (folder / "README.md").read_text()
    alone = load_pretrained(folder, modalities=["text"])
    assert (alone.card.licence, alone.card.non_commercial, alone.card.modalities) == ("Apache-2.0", False, ("text",))
    assert alone.card.data == ("comments: Apache-2.0",)
    assert [score.data for score in alone.card.scores] == ["x dev, text"]
    assert alone.card.notes == (notes[0], notes[2]), "without those on scores that are not there"
    assert alone.card.parameters == sum(p.numel() for p in alone.model.parameters())
    assert not any("faces" in name for name in alone.model.state_dict()), "the weights of the others are not there"
    batch = make_batch()
    probs, _, shares = alone.probabilities(alone.model(batch))
    expected = whole.probabilities(whole.model(batch))[0]
    torch.testing.assert_close(probs[2], expected[2])
    assert set(shares) == {"text"}
    assert load_pretrained(folder, modalities=["faces"]).tokenizer is None
    assert load_pretrained(folder, modalities=["text", "faces"]).card == load_pretrained(folder).card
    with pytest.raises(ModelError, match="does not read speech"):
        load_pretrained(folder, modalities=["speech", "text"])
    with pytest.raises(ModelError, match="no modality is wanted"):
        load_pretrained(folder, modalities=[])


def test_licences_that_are_not_stated_are_those_of_the_whole(folder: Path) -> None:
    write_card(folder, load_pretrained(folder).card.model_copy(update={"modalities": ("faces", "text")}))
    alone = load_pretrained(folder, modalities=["text"])
    assert alone.card.non_commercial
    assert alone.card.licence == CARD.licence


def test_a_cautious_branch_is_less_sure_about_the_unfamiliar_and_counts_less(folder: Path) -> None:
    plain = load_pretrained(folder)
    output = plain.model(make_batch())
    vectors = output.features["faces"]
    caution = Caution(weights=(0.0,) * vectors.shape[1], bias=100.0, most=4.0)
    write_calibration(folder, plain.calibration.model_copy(update={"caution": {"faces": caution}}), "cautious")
    cautious = load_pretrained(folder)
    (fused, own, shares), (fused_before, own_before, shares_before) = (
        one.probabilities(output) for one in (cautious, plain)
    )
    has_faces = output.present["faces"]
    others = ~has_faces
    temperature = plain.calibration.temperature(("faces",))
    torch.testing.assert_close(own["faces"], (output.contributions["faces"] / 4 / temperature).softmax(1))
    assert bool((own["faces"].max(1).values < own_before["faces"].max(1).values).all())
    both = has_faces & output.present["text"]
    assert bool((shares["faces"][both] < shares_before["faces"][both]).all())
    torch.testing.assert_close(fused[others], fused_before[others])
    torch.testing.assert_close(own["text"], own_before["text"])
    assert not torch.allclose(fused[has_faces], fused_before[has_faces])


def test_caution_for_vectors_of_another_width_is_refused(folder: Path) -> None:
    plain = load_pretrained(folder)
    caution = Caution(weights=(0.0, 1.0), bias=0.0, most=2.0)
    write_calibration(folder, plain.calibration.model_copy(update={"caution": {"faces": caution}}), "cautious")
    loaded = load_pretrained(folder)
    with pytest.raises(ModelError, match="caution has 2 weights for vectors of"):
        loaded.probabilities(loaded.model(make_batch()))

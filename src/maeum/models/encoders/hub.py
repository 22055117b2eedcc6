"""Things from the Hugging Face hub, or from a folder in its layout, with errors that say what is missing."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError

from maeum.errors import ModelError
from maeum.models.weights import WEIGHTS, weights_folder
from maeum.wording import first_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

T = TypeVar("T")

#: How long the hub may take to answer before it counts as out of reach.
REACH_S = 3.0
#: What from_pretrained raises when a file is missing, damaged or of an unknown kind.
_FAILURES = (OSError, ValueError, KeyError, RuntimeError, ImportError)


def fetch(name: str, what: str, get: Callable[[bool], T]) -> T:
    """Get something by name: from a folder or the local cache at once, else from the hub if it answers.

    Args:
        name: a folder, or a name on the hub such as ``albert/albert-base-v2``.
        what: what it is, for the error: ``text encoder``.
        get: called with ``local_files_only``.

    Raises:
        ModelError: when it is nowhere, or not what it should be.
    """
    if Path(name).is_dir():
        try:
            with _quiet():
                return get(True)
        except _FAILURES as error:
            reason = first_line(str(error), type(error).__name__)
            raise ModelError(f"this folder holds no usable {what} ({reason})", item=name) from error
    if name.startswith(("/", "./", "../", "~")):
        raise ModelError(f"no such folder, so there is no {what}", item=name)
    try:
        with _quiet():
            return get(True)
    except _FAILURES as missing:
        if not hub_answers():
            why = " (HF_HUB_OFFLINE is set)" if constants.is_offline_mode() else ""
            raise ModelError(
                f"this {what} is not in the local cache, and the hub ({constants.ENDPOINT}) is out of reach{why}",
                item=name,
                remedy=f"On a machine with network run `hf download {name} --local-dir FOLDER`, then name that folder.",
            ) from missing
    try:
        return get(False)
    except (*_FAILURES, HfHubHTTPError) as error:
        raise ModelError(
            f"the hub gives no such {what} ({first_line(str(error), type(error).__name__)})",
            item=name,
            remedy="Check the name on the hub's page; a private one needs `hf auth login`.",
        ) from error


def place(name: str) -> str:
    """Where something of this name is looked for: the folder of fetched weights, else the name itself.

    Raises:
        ModelError: when weights of this name are known, but were not fetched or are damaged.
    """
    return str(weights_folder(name)) if name in WEIGHTS else name


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and tables that transformers writes about every folder that it reads."""
    from transformers.utils import logging  # takes a second, and only these models need it

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def whole(found: tuple[Any, dict[str, Any]], name: str, what: str) -> Any:
    """A model that was read with ``output_loading_info=True``.

    Raises:
        ModelError: when weights of it are not in the checkpoint, so that they would be random.
    """
    model, info = found
    missing = sorted(key for key in info["missing_keys"] if not any(part in key for part in _DRAWN))
    if missing:
        raise ModelError(
            f"this {what} lacks weights, such as {missing[0]}; they would be random",
            item=name,
            remedy="Name a checkpoint that was trained as one.",
        )
    return model


#: Weights that checkpoints may lack: what hides steps while training, and heads that are not read.
_DRAWN = ("masked_spec_embed", "pooler", "position_ids")


def check_source(pretrained: str | None, data: dict[str, Any] | None, what: str, such_as: str) -> None:
    """Raise ValueError unless a configuration of an encoder says, in one way, where that comes from."""
    if (pretrained is None) == (data is None):
        raise ValueError(f"a hub {what} needs either pretrained (a name or folder) or architecture")
    if data is not None and "model_type" not in data:
        raise ValueError(f"architecture does not say its model_type, such as {such_as!r}")


def architecture(data: dict[str, Any], what: str) -> PreTrainedConfig:
    """The configuration of transformers that plain data with ``model_type`` describe.

    Raises:
        ModelError: when there is no such kind, or it has no such settings.
    """
    from transformers import AutoConfig  # takes a second, and only these encoders need it

    kind = data["model_type"]
    try:
        return AutoConfig.for_model(**data)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"no {what} can be built from this architecture ({error})", item=kind) from error


def hub_answers() -> bool:
    """Whether the hub answers, within a few seconds and without a retry; False under HF_HUB_OFFLINE."""
    if constants.is_offline_mode():
        return False
    try:
        with urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=REACH_S):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False

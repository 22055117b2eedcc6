"""Names of the devices that models run on, checked before anything is loaded."""

from __future__ import annotations

import re

from maeum.errors import ModelError

_NAME = re.compile(r"cpu|(cuda|mps|xpu)(:\d+)?")


def check_device(name: str) -> str:
    """The name of a device; raises ModelError where no device has such a name.

    Whether the device exists shows when a model is moved to it (`maeum.models.pretrained.on_device`).
    """
    if not _NAME.fullmatch(name):
        raise ModelError(f"unknown device {name!r}: cpu, or cuda", remedy="`maeum doctor` lists the devices.")
    return name

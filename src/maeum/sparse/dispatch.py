"""Which form of the sparse operators is used: reference, portable (PyTorch), native (C++) or Triton (GPU)."""

from __future__ import annotations

import os
import warnings
from functools import cache

from maeum.errors import ConfigError
from maeum.native import broken, missing
from maeum.sparse.base import ReferenceOps
from maeum.sparse.kernels import kernels
from maeum.sparse.native_ops import NativeOps
from maeum.sparse.portable_ops import PortableOps


@cache
def operators() -> ReferenceOps:
    """The operators that are used: ``MAEUM_SPARSE`` (reference, portable, native, triton), else native or portable.

    ``triton`` is opt-in: only that setting chooses it, as long as no GPU has verified it. Warns once when kernels could
    not be made although there is a compiler.

    Raises:
        ConfigError: for another name, or when ``native`` or ``triton`` is set and cannot be had.
    """
    wanted = os.environ.get("MAEUM_SPARSE") or None
    if wanted == "reference":
        return ReferenceOps()
    if wanted == "portable":
        return PortableOps()
    if wanted == "triton":
        try:
            from maeum.sparse.triton_ops import TritonOps
        except ImportError as error:
            remedy = "On Linux, run `pip install 'maeum[gpu]'`."
            raise ConfigError(f"no triton: {error}", item="MAEUM_SPARSE=triton", remedy=remedy) from error
        return TritonOps()
    if wanted not in (None, "native"):
        raise ConfigError(f"is {wanted!r}", item="MAEUM_SPARSE", remedy="Use reference, portable, native or triton.")
    native = kernels()
    if native is not None:
        return NativeOps(native)
    if wanted == "native":
        raise ConfigError(f"no native kernels: {missing('sparse')}", item="MAEUM_SPARSE=native")
    if broken("sparse"):
        warnings.warn(f"MESM runs without its kernels in C++: {missing('sparse')}", stacklevel=2)
    return PortableOps()

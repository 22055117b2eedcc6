"""Pictures from files and from zip archives."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from maeum.archives import ArchiveError, archive_of, read_member
from maeum.errors import MediaError
from maeum.media.container import check_file

_REMEDY = "Give a picture such as JPEG, PNG or WebP, or copy it again."


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """A picture, upright (EXIF), as RGB.

    Args:
        path: a file, or a member of a zip archive, written ``archive.zip/inner/name.jpg``.

    Returns:
        ``(height, width, 3)`` uint8. Grey and palette pictures become RGB; transparency lies on black.

    Raises:
        MediaError: when there is no such picture, or it cannot be decoded in full.
    """
    path = Path(path)
    archive = archive_of(path)
    if archive is None:
        check_file(path)
        data = path.read_bytes()
    else:
        data = _member(archive, path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                layered = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", layered.size, (0, 0, 0, 255)), layered)
            if upright.mode.startswith("I;16") or upright.mode == "I":
                upright = Image.fromarray((np.asarray(upright, np.int64) >> 8).clip(0, 255).astype(np.uint8))
            return np.array(upright.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(f"is not a picture that can be decoded ({error})", item=path, remedy=_REMEDY) from error


def _member(archive: Path, path: Path) -> bytes:
    try:
        return read_member(archive, path)
    except KeyError as error:
        raise MediaError("the archive has no such member", item=path, remedy="Check its path.") from error
    except ArchiveError as error:
        raise MediaError(f"cannot be read: {error}", item=path, remedy="Copy the archive again.") from error

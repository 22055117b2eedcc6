"""FER2013: 48x48 grey faces from the web by emotion (Goodfellow et al. 2013)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from maeum.archives import ArchiveError, member_names
from maeum.corpora.base import CORPORA, PARTS, Corpus, LeftOut
from maeum.errors import CorpusError
from maeum.labels import canonical
from maeum.types import Recording, Utterance

_FOLDERS = {
    "training": "train",
    "publictest": "dev",
    "validation": "dev",
    "privatetest": "test",
    **{p: p for p in PARTS},
}
_IMAGES = (".jpg", ".jpeg", ".png")


@CORPORA.register("fer2013")
class Fer2013(Corpus):
    """FER2013 as a zip, or as the unpacked folder: part / emotion / image.

    The parts are the official ones (Training, PublicTest = dev, PrivateTest = test). Some pictures occur in several
    parts, some with two labels: those shared with dev or test are left out of train.
    """

    name = "fer2013"
    title = "FER2013, facial expression recognition challenge 2013"
    licence = "research use; web images without a clear redistribution licence"
    citation = (
        "Goodfellow, I. J., et al. (2013). Challenges in representation learning: A report on three machine learning "
        "contests. ICONIP 2013."
    )
    modalities = ("faces",)
    faces = "crops"
    counts: ClassVar[Mapping[str, int]] = {"train": 28709, "dev": 3589, "test": 3589}

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`; an image's path inside an archive is ``archive.zip/train/happy/name.jpg``."""
        root, names = _list_images(Path(source))
        found = False
        for name in names:
            where = PurePosixPath(name)
            if len(where.parts) < 3 or where.parts[-3].lower() not in _FOLDERS:
                yield LeftOut(name, "not in a folder part/emotion, with part one of train, dev, test")
                continue
            emotion = canonical(where.parts[-2])
            if emotion not in self.label_set.names:
                yield LeftOut(name, f"{where.parts[-2]} is outside the label set")
                continue
            found = True
            part = _FOLDERS[where.parts[-3].lower()]
            id = f"{part}/{where.parts[-2]}/{where.stem}"
            yield Utterance(id=id, recording=Recording(id=id, video=root / name), label=emotion, part=part)
        if not found:
            raise CorpusError("holds no images in folders like train/happy", item=source,
                              remedy="Give fer2013.zip or its unpacked folder.")  # fmt: skip


def _list_images(source: Path) -> tuple[Path, list[str]]:
    """The folder or archive that holds the images, and their names in it, sorted."""
    if source.is_dir() and not any((source / folder).is_dir() for folder in _FOLDERS):
        archives = sorted(source.glob("*.zip"))
        if (source / "fer2013.zip") in archives:
            source = source / "fer2013.zip"
    if source.is_dir():
        names = [p.relative_to(source).as_posix() for p in source.rglob("*")]
    elif not source.exists():
        raise CorpusError("no such file or folder", item=source, remedy="Give fer2013.zip or its unpacked folder.")
    else:
        try:
            names = member_names(source)
        except ArchiveError as error:
            raise CorpusError(f"is not a readable zip archive ({error})", item=source,
                              remedy="Give fer2013.zip or its unpacked folder.") from error  # fmt: skip
    images = [n for n in names if n.lower().endswith(_IMAGES) and not PurePosixPath(n).name.startswith("._")]
    return source, sorted(images)

"""Recognised transcripts of a corpus: made by a model, written to a file, read in the place of the corpus' own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from rich.console import Console

from maeum.asr import ASR, SpeechRecognizer, speech_recognizer
from maeum.data.collate import Collator
from maeum.data.store import Store, spoken_text_of
from maeum.errors import ConfigError, ModelError, StoreError
from maeum.files import check_regular, write_whole
from maeum.media.activity import speech_regions
from maeum.media.shapes import SAMPLE_RATE_HZ
from maeum.models.encoders.character_vocabulary import units
from maeum.models.encoders.hub import fetch
from maeum.models.encoders.whisper import is_whisper
from maeum.models.network import transcriber
from maeum.models.pretrained import EMBEDDED, Pretrained, load_pretrained, weights_digest
from maeum.models.weights import WEIGHTS
from maeum.preparation.model_items import items_for
from maeum.progress import progress_bar

#: Utterances that are recognised at once.
_AT_ONCE = 16


@dataclass(frozen=True)
class Transcripts:
    """Recognised words of a corpus' utterances."""

    model: str
    """The recogniser."""
    corpus: str
    """Name of the corpus."""
    weights: str | None
    """Digest of the weights, of a model of one's own."""
    texts: Mapping[str, str]
    """Utterance id -> words, empty where none were recognised."""

    @classmethod
    def read(cls, path: Path | str) -> Transcripts:
        """Read a file of `transcribe`: a line of JSON for each utterance, after one that names the model.

        Raises:
            ConfigError: when it is no such file.
        """
        path = Path(path)
        check_regular(path, ConfigError)
        try:
            # Not splitlines, for which some characters of a text are ends of lines.
            first, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            head, rows = json.loads(first), [json.loads(line) for line in lines]
            texts = {str(line["id"]): str(line["text"]) for line in rows}
            return cls(str(head["model"]), str(head["corpus"]), head["weights"], texts)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError(
                "no such file"
                if isinstance(error, FileNotFoundError)
                else f"holds no recognised transcripts ({error})",
                item=path,
                remedy="Make it with: maeum transcribe STORE --model MODEL --out FILE.",
            ) from error

    def error_rate(self, rows: Sequence[Mapping[str, Any]]) -> tuple[float, int] | None:
        """Word error rate against the corpus' own transcripts, and of how many utterances.

        Words that are wrong, missing or too many, relative to the words of the corpus' transcripts. Capitals and
        punctuation do not count (see `units`). None where the corpus has no transcript of any.

        Raises:
            ConfigError: see `check_error_rate`.
        """
        pairs = [
            (known, self.texts[row["id"]]) for row in rows if row["id"] in self.texts and (known := spoken_text_of(row))
        ]
        references, hypotheses = (["".join(units(pair[side])).strip() for pair in pairs] for side in (0, 1))
        if not any(references):
            return None
        check_error_rate(rows)
        from jiwer import wer

        return float(wer(references, hypotheses)), len(pairs)


def check_error_rate(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise ConfigError when items have known transcripts and jiwer is not installed."""
    if find_spec("jiwer") is None and any(map(spoken_text_of, rows)):
        raise ConfigError("jiwer, which computes word error rates, is not installed",
                          remedy="Run `pip install 'maeum[transcripts]'`.")  # fmt: skip


def transcribe(
    store: Path | str,
    model: str | Path,
    out: Path | str,
    *,
    device: str = "cpu",
    console: Console | None = None,
) -> Transcripts:
    """Recognise the words of every utterance of a store, or go on where an interrupted run stood.

    Args:
        store: a prepared corpus; one that keeps the sound itself, where the model reads that.
        model: the folder of a model of `maeum train` with a CTC head, or a speech recogniser of transformers
            (wav2vec2 with CTC, Whisper and their kin), by its name on the hub or its folder.
        out: the file of the transcripts, JSON lines.
        device: where the model runs.
        console: where progress is drawn; None draws none.

    Raises:
        StoreError: when the store cannot be read or the file not be written.
        ModelError: when there is no such model.
        ConfigError: when the model recognises no words, or the file was made by another one.
    """
    corpus, out = Store(store), Path(out)
    recognise, weights = _recogniser(model, corpus, device)
    name, done = str(corpus.manifest["name"]), dict[str, str]()
    if out.exists() and out.stat().st_size:
        _mend(out)
        before = Transcripts.read(out)
        if (before.model, before.corpus, before.weights) != (str(model), name, weights):
            raise ConfigError(
                f"was made by {before.model} of {before.corpus}, or by other weights of that name",
                item=out,
                remedy="Choose another file.",
            )
        done = dict(before.texts)
    missing = [i for i, row in enumerate(corpus.rows) if row["mel_chunks_count"] and row["id"] not in done]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a", encoding="utf-8") as file, progress_bar(console) as bar:
            task = bar.add_task("transcribe", total=len(done) + len(missing), completed=len(done))
            if not out.stat().st_size:
                file.write(json.dumps({"model": str(model), "corpus": name, "weights": weights}) + "\n")
            for start in range(0, len(missing), _AT_ONCE):
                numbers = missing[start : start + _AT_ONCE]
                for number, text in zip(numbers, recognise(numbers), strict=True):
                    id = corpus.rows[number]["id"]
                    done[id] = text
                    file.write(json.dumps({"id": id, "text": text}, ensure_ascii=False) + "\n")
                file.flush()
                bar.advance(task, len(numbers))
    except OSError as error:
        raise StoreError(f"cannot be written ({error})", item=out, remedy="Choose another file.") from error
    return Transcripts(str(model), name, weights, done)


def _mend(path: Path) -> None:
    """Cut off a last line that a kill left half-written, of a file that `transcribe` began."""
    content = path.read_bytes()
    if content.startswith(b'{"model": ') and not content.endswith(b"\n"):
        write_whole(path, content[: content.rfind(b"\n") + 1] or content, StoreError)


Recognise = Callable[[Sequence[int]], list[str]]


def _recogniser(model: str | Path, corpus: Store, device: str) -> tuple[Recognise, str | None]:
    """What recognises utterances by their numbers, and the digest of weights that may change under their name."""
    if str(model) == EMBEDDED or (Path(model) / "card.json").is_file():
        ours = load_pretrained(model, device)
        return _of_ours(ours, corpus, device), weights_digest(ours.model)
    name = str(model)
    if name in ASR or (name not in WEIGHTS and _is_whisper(name)):
        return _of_asr(speech_recognizer(name), corpus, name), None
    return _of_the_hub(name, corpus, device), None


def _is_whisper(name: str) -> bool:
    try:
        return is_whisper(name, None)
    except ModelError:
        return False  # what there is instead, `_of_the_hub` says


def _of_asr(recognizer: SpeechRecognizer, corpus: Store, name: str) -> Recognise:
    corpus.check_waves(corpus.rows, name)

    def recognise(numbers: Sequence[int]) -> list[str]:
        texts = []
        for number in numbers:
            wave = corpus.wave(number)
            assert wave is not None
            voice = speech_regions(torch.from_numpy(wave))
            texts.append(" ".join(word.text for word in recognizer.recognize(wave, voice).words))
        return texts

    return recognise


def _of_ours(ours: Pretrained, corpus: Store, device: str) -> Recognise:
    network = transcriber(ours.model)
    if network is None:
        raise ConfigError("has no CTC head that recognises words", item=ours.name,
                          remedy="Give an MMER that was trained with the loss ctc, or a speech recogniser of "
                          "the hub.")  # fmt: skip
    everything = items_for(ours, corpus, modalities=("speech",))
    places = {id: i for i, id in enumerate(everything.ids)}
    collate = Collator(max_mel_chunks=ours.settings.max_mel_chunks)

    def recognise(numbers: Sequence[int]) -> list[str]:
        clips = [everything[places[corpus.rows[number]["id"]]] for number in numbers]
        with torch.inference_mode():
            return network.transcribe(collate(clips).to(device))

    return recognise


def _of_the_hub(name: str, corpus: Store, device: str) -> Recognise:
    from transformers import pipeline  # takes a second

    corpus.check_waves(corpus.rows, name)
    kind: Any = "automatic-speech-recognition"

    def get(local: bool) -> Any:
        folder = name if Path(name).is_dir() else snapshot_download(name, local_files_only=local)
        return pipeline(kind, model=folder, device=device)

    recogniser = fetch(name, "speech recogniser", get)
    kinds = recogniser.model.config.architectures or ()
    if not any(kind.endswith(("ForCTC", "ForConditionalGeneration", "ForSpeechSeq2Seq")) for kind in kinds):
        raise ModelError(f"was trained as {', '.join(kinds) or 'something unknown'}, which recognises no speech",
                         item=name, remedy="Name a model with CTC, or Whisper and its kin.")  # fmt: skip
    # Whisper reads 30 s at once, and more only if it gives times.
    more = {"return_timestamps": True} if recogniser.type == "seq2seq_whisper" else {}

    def waves(numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        for number in numbers:
            wave = corpus.wave(number)
            assert wave is not None
            yield {"raw": wave, "sampling_rate": SAMPLE_RATE_HZ}

    def recognise(numbers: Sequence[int]) -> list[str]:
        texts = []
        for number, wave in zip(numbers, waves(numbers), strict=True):
            try:
                texts.append(str(recogniser(wave, **more)["text"]))
            except (RuntimeError, ValueError) as error:
                raise ModelError(f"cannot be recognised by {name} ({str(error).splitlines()[0]})",
                                 item=corpus.rows[number]["id"], remedy="Choose another model.") from error  # fmt: skip
        return texts

    return recognise


__all__ = ["Transcripts", "check_error_rate", "transcribe"]

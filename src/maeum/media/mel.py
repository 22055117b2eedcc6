"""Speech as log-mel chunks."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from maeum.errors import InputError
from maeum.media.shapes import HOP, MEL_CHUNK_FRAMES, N_FFT, N_MELS, SAMPLE_RATE_HZ

#: Upper edge of the highest of the HTK mel bands.
TOP_HZ = 8_000.0
#: Added to the power before the logarithm.
LOG_OFFSET = 1e-6


def mel_spectrogram(wave: Tensor, log: bool = True) -> Tensor:
    """Mel power spectrogram.

    Periodic Hann window of 400 samples, hop 200, centred with reflection, power 2, 128 triangular HTK bands from 0 to
    8 kHz without area normalisation. The transform runs in double precision, so that quiet bands beside loud ones are
    exact.

    Args:
        wave: ``(n,)`` samples at 16 kHz. Fewer than 201 are filled up with silence, which reflection needs.
        log: natural logarithm of power + 1e-6 (the published code left the power as it is).

    Returns:
        ``(128, 1 + n // 200)`` float32; ``(128, 0)`` for no samples.

    Raises:
        InputError: when the samples are not one row of finite numbers.
    """
    power = _mel_power(wave)
    return _logged(power).float() if log else power.float()


def to_mel_chunks(wave: Tensor) -> Tensor:
    """The log-mel spectrogram cut into mel chunks of 400 ms; the last is filled up with silence (power 0).

    Args:
        wave: ``(n,)`` samples at 16 kHz.

    Returns:
        ``(mel_chunks, 1, 128, 32)`` float32; no mel chunks for no samples.

    Raises:
        InputError: when the samples are not one row of finite numbers.
    """
    power = _mel_power(wave)
    power = functional.pad(power, (0, -power.shape[1] % MEL_CHUNK_FRAMES))
    mel_chunks = power.reshape(N_MELS, -1, MEL_CHUNK_FRAMES).transpose(0, 1)[:, None]
    return _logged(mel_chunks).float().contiguous()


def _logged(power: Tensor) -> Tensor:
    return torch.log(power + LOG_OFFSET)


def _mel_power(wave: Tensor) -> Tensor:
    """``(128, frames)`` float64."""
    wave = check_wave(wave).double()
    if not wave.numel():
        return wave.new_zeros(N_MELS, 0)
    wave = functional.pad(wave, (0, max(0, N_FFT // 2 + 1 - wave.numel())))
    window = torch.hann_window(N_FFT, periodic=True, dtype=wave.dtype, device=wave.device)
    spectrum = torch.stft(wave, N_FFT, HOP, N_FFT, window, center=True, pad_mode="reflect", return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()  # (201, frames)
    return mel_filters().to(power.device) @ power


@cache
def mel_filters(n_mels: int = N_MELS, n_fft: int = N_FFT) -> Tensor:
    """Triangles of height 1 on the HTK scale, 2595 log10(1 + f / 700): ``(n_mels, n_fft // 2 + 1)`` float64."""
    top = 2595.0 * torch.log10(torch.tensor(1.0 + TOP_HZ / 700.0, dtype=torch.float64))
    mels = torch.linspace(0.0, 1.0, n_mels + 2, dtype=torch.float64) * top
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)  # (n_mels + 2,) Hz
    hz = torch.linspace(0.0, SAMPLE_RATE_HZ / 2, n_fft // 2 + 1, dtype=torch.float64)
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0.0)


def check_wave(wave: Tensor) -> Tensor:
    """Raise InputError unless this is one row of finite samples; NumPy arrays become tensors."""
    wave = torch.as_tensor(wave)
    if wave.ndim != 1 or not wave.is_floating_point():
        raise InputError(
            f"samples of shape {tuple(wave.shape)}, {wave.dtype} are not mono audio", item="audio",
            remedy="Give float samples (n,) at 16 kHz, for example from to_mono_16k.",
        )  # fmt: skip
    if not bool(wave.isfinite().all()):
        raise InputError("has samples that are NaN or infinite", item="audio", remedy="Replace them.")
    return wave

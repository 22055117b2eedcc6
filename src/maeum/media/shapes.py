"""Rates and sizes of what enters a network, each with its unit; they stand here alone, and what follows is computed."""

from __future__ import annotations

#: Of all sound, mono.
SAMPLE_RATE_HZ = 16_000
#: Side of a face crop, and its margin, both sides together (Dai et al. 2021).
FACE_PX, MARGIN_PX = 48, 2
#: Windows of the mel spectrogram and the distance between them, in samples: 25 ms and 12.5 ms.
N_FFT, HOP = 400, 200
#: Mel bands, and frames of a mel chunk: 400 ms.
N_MELS, MEL_CHUNK_FRAMES = 128, 32
MEL_CHUNK_SHAPE = (N_MELS, MEL_CHUNK_FRAMES)
MEL_CHUNK_SAMPLES = MEL_CHUNK_FRAMES * HOP
MEL_CHUNK_S = MEL_CHUNK_SAMPLES / SAMPLE_RATE_HZ

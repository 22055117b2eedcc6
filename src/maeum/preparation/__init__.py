"""One corpus made ready for training: prepared, augmented, transcribed."""

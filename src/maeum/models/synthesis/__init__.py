"""Models that say an utterance in other words or with another voice, for augmented views."""

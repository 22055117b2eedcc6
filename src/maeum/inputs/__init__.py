"""From media to the tensors of one utterance, for training and for use alike."""

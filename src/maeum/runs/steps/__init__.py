"""The steps of a training, in their order: data, network, tokenizer, loop."""

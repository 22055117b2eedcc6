"""Encoders of speech and text, and the tokenizers that go with them."""

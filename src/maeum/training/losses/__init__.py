"""The losses that networks are trained on."""

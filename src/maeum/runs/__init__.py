"""One training or evaluation: its recipe, its folder, its checks and its outcome."""

"""What makes training on processors quick."""

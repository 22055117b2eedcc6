"""What a package adds to maeum: one file each, named in pyproject.toml."""

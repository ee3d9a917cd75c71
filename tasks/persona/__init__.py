"""Who: prompts/<persona>.toml."""

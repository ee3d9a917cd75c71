"""What the owner says: settings.toml."""

"""The token is learned, versions are kept."""

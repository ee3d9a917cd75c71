"""A post, its states, its review."""

"""A shot, its pixels, its record."""

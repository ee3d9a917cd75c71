"""Likeness, and choosing by it."""

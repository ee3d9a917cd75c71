"""Approved posts go out once."""

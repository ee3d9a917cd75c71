"""Candidates, gates, identity, diversity."""

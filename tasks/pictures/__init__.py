"""Shots become pictures."""

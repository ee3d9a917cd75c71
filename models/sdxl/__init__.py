"""Prompts and pictures by SDXL / SD 1.x."""

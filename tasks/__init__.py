"""One step of the way each, as plain functions."""

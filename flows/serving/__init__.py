"""`restage serve`."""

"""When, and in which words."""

"""What is due becomes posts."""

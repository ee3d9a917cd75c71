"""Files, terminal, processes, network."""

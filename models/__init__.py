"""What computes pictures and scores. Knows nothing of Prefect, settings, the store or Instagram."""

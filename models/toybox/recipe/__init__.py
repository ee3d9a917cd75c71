"""How they were made; never imported by the product."""

"""What the studio knows: database and picture files."""

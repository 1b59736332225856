"""Training rows that people already have: read, checked, compared."""

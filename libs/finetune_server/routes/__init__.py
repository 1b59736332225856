"""The wire: one file per group of endpoints."""

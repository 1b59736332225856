"""Rows that are equal, or nearly so, to one before. Pure."""

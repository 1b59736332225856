"""Which rows are held out: groups, their split, and where they were in earlier data."""

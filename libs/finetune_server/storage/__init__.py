"""What the server keeps: SQLite, its schema, and the records read from it."""

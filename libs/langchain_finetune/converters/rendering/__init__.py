"""What a session becomes: rows in the making, by the method of training. Pure."""

"""The embedded server as a process of its own: found or started, revived, stopped."""

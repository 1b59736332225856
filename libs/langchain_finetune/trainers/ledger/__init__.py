"""What this machine has ordered and uploaded, written down before it is done."""

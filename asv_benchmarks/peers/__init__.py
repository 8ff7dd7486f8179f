"""What else a user could run: optional, and n/a where it is not installed."""

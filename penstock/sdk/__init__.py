"""What the two clients share: every request as a value, and how often it may be asked again."""

"""Claims ready rows, runs their programs, and settles what they answer."""

"""Which model: its name, its files, how it is loaded."""

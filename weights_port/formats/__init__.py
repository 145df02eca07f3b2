"""Files of other frameworks, read as arrays by name."""

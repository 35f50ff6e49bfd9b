"""Parameter types and error reporting shared by all commands."""

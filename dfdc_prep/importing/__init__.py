"""The import command: convert an existing crop set to a faces folder."""

"""The import command: an existing crop set becomes a faces folder."""

"""The page of a faces folder."""

"""Reading, writing and checking tables; columns as numpy arrays of integer codes."""

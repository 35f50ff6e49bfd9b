"""What the app does with an upload: read, crop, score, track, annotate."""

"""One training: its folder, its checkpoints, its loop."""

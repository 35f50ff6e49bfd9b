"""Training runs: run folder, checkpoints and training loop."""

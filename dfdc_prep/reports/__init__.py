"""Reports: one self-contained HTML page about a faces folder, a shards folder or a run."""

"""Worker processes, threads and progress."""

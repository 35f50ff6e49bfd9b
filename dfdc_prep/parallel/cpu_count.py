"""The number of CPU cores available to this process."""

import os


def available_cores() -> int:
    """Return the cores this process may use, respecting CPU affinity (container, scheduler)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""How many cores there are to use."""

import os


def available_cores() -> int:
    """Cores this process may use, which a container or a scheduler may have narrowed."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""Decides whether a call takes too long, by what its worker uses.

On a machine that is busy with other work, a healthy clip takes any time by the clock. So a call may
use so many seconds of CPU time; and a worker that neither uses any nor waits for a core hangs.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

#: A worker that uses less than this share of a core while it could run makes no progress.
_LEAST_SHARE = 0.01


class Usage(NamedTuple):
    """What a process has used.

    Attributes:
        cpu: seconds of CPU time of all its threads, in user and system mode.
        runnable: whether it is running or waiting for a core.
    """

    cpu: float
    runnable: bool


def usage_of(pid: int) -> Usage | None:
    """What a process of this machine has used; None if it has ended, or the system does not say."""
    if sys.platform != "linux":
        return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name, in brackets, may contain anything; state, ..., utime and stime follow (proc(5)).
    fields = text.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), fields[0] == "R")


@dataclass
class Watch:
    """Watches one call.

    Attributes:
        timeout: seconds of CPU time that the call may use, and seconds by the clock that its
            worker may pass without progress.
        began: CPU time that the worker had used when the call began.
        moved: time by the clock of its last progress.
        cpu: CPU time that it had used then.
    """

    timeout: float
    began: float
    moved: float
    cpu: float

    @classmethod
    def start(cls, timeout: float, began: float, now: float) -> "Watch":
        """Watch a call that begins."""
        return cls(timeout, began, now, began)

    def is_over(self, usage: Usage | None, now: float) -> bool:
        """Whether the call takes too long; where the system says nothing, the clock decides."""
        if usage is not None:
            if usage.cpu - self.began > self.timeout:
                return True
            if usage.runnable or usage.cpu - self.cpu > _LEAST_SHARE * self.timeout:
                self.moved, self.cpu = now, usage.cpu
        return now - self.moved > self.timeout

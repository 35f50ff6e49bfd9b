"""The power a GPU draws while something runs, read by `nvidia-smi`."""

import shutil
import subprocess
from types import TracebackType
from typing import Self

#: Samples per second.
_RATE = 2


class PowerMeter:
    """Samples the power of all GPUs while the context is open."""

    def __enter__(self) -> Self:
        self._watts: list[float] = []
        self._process: subprocess.Popen[str] | None = None
        if shutil.which("nvidia-smi"):
            query = ["--query-gpu=power.draw", "--format=csv,noheader,nounits"]
            self._process = subprocess.Popen(
                ["nvidia-smi", *query, f"--loop-ms={1000 // _RATE}"],
                stdout=subprocess.PIPE,
                text=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._process:
            self._process.terminate()
            said, _ = self._process.communicate()
            self._watts = [float(line) for line in said.split() if line.replace(".", "").isdigit()]

    def mean(self) -> float | None:
        """Mean of the upper half of the samples, which leaves out start-up; None if unknown."""
        upper = sorted(self._watts)[len(self._watts) // 2 :]
        return sum(upper) / len(upper) if upper else None

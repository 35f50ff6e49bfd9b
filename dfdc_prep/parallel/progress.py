"""Progress bar for steps that process records: records, records per second, bytes per second."""

from threading import Lock

from tqdm import tqdm


class RecordBar:
    """A thread-safe tqdm bar, disabled when stderr is not a terminal."""

    def __init__(self, name: str, records: int | None) -> None:
        self._bar = tqdm(total=records, desc=name, unit=" records", disable=None)
        self._lock = Lock()
        self._bytes = 0

    def add(self, size: int) -> None:
        """Count one record of `size` bytes."""
        with self._lock:
            self._bytes += size
            if not self._bar.disable:
                elapsed = self._bar.format_dict["elapsed"] or 1e-9
                self._bar.set_postfix_str(f"{self._bytes / elapsed / 1e6:.0f} MB/s", refresh=False)
            self._bar.update()

    def __enter__(self) -> "RecordBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

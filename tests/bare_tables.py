"""Small tables for the tests: any mixture of families, and CSV files."""

from pathlib import Path

import pyarrow as pa
from hypothesis import strategies as st

#: Numbers of REAL and FAKE crops of each family of a table.
Mixture = list[tuple[int, int]]

mixtures = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 9)).filter(any), min_size=1, max_size=40
)


def mixture_table(mixture: Mixture, frames: int = 1) -> pa.Table:
    """Make a table whose family n has mixture[n] REAL and FAKE crops, `frames` per fake clip."""
    rows = []
    for number, counts in enumerate(mixture):
        family = f"clip{number:04d}.mp4"
        for label, count in zip(("REAL", "FAKE"), counts, strict=True):
            for crop in range(count):
                video = family if label == "REAL" else f"fake{number:04d}_{crop // frames}.mp4"
                rows.append(
                    {
                        "video": video,
                        "label": label,
                        "original": None if label == "REAL" else family,
                        "family": family,
                        "frame": crop if label == "REAL" else crop % frames,
                        "face": 0,
                        "path": f"{video}/{label}/{crop}.png",
                    }
                )
    return pa.Table.from_pylist(rows)


def write(folder: Path, text: str | bytes) -> Path:
    """Write a CSV with this text."""
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path

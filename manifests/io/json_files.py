"""Parsing JSON safely, and writing text and JSON files atomically."""

import json
from pathlib import Path
from typing import Any

from manifests.io.atomic import atomic_file


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: the text is not valid JSON, or is nested too deeply to parse.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nesting too deep") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, ensure_ascii: bool = True) -> None:
    """Write a JSON file, atomically; keys keep their order, so equal values give equal bytes.

    Args:
        ensure_ascii: escape characters outside ASCII.

    Raises:
        ValueError: the value contains NaN or infinity, which JSON does not allow.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=ensure_ascii)
    write_text(path, text + "\n")

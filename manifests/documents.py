"""JSON that may be anything: the files of a run, and those of others."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """What JSON says; nesting too deep is a ValueError as any other fault in it."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep nesting") from error

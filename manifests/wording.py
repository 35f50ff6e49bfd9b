"""Words of messages: numbers with their nouns."""


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 clip", "2,000 clips", "3 families"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"

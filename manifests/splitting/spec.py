"""Specification of a split: names, fractions, grouping and seed."""

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from manifests.errors import TableError

#: Names of two or three splits given only as numbers.
DEFAULT_NAMES = {2: ("train", "test"), 3: ("train", "validation", "test")}

#: Split names that tensorflow-datasets accepts; it reserves "all" for all splits together.
_NAME = re.compile(r"(?!all$)[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class SplitPlan:
    """The splits to make.

    Attributes:
        fractions: name of each split and its fraction of the rows; the sum is 1.
        group_by: what must not be in two splits: original (a family), identity (an estimated
            person), part, another column of the table (its values and the families together),
            or none.
        seed: seed for choosing among families of the same kind.
    """

    fractions: tuple[tuple[str, float], ...]
    group_by: str = "original"
    seed: int = 42

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the splits, in order."""
        return tuple(name for name, _ in self.fractions)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The fractions of the splits, float64 [splits]."""
        return np.array([weight for _, weight in self.fractions])

    @classmethod
    def parse(cls, text: str, group_by: str = "original", seed: int = 42) -> "SplitPlan":
        """Parse "56/24/20", "80/10/10" or "fit=70/dev=30".

        Two or three plain numbers are train/test and train/validation/test. The numbers are
        relative to their sum, so 8/1/1 equals 80/10/10.

        Raises:
            TableError: a number is not positive, a name is invalid or used twice, or names
                are missing and there are not two or three numbers.
        """
        parts = [part.strip() for part in text.split("/")]
        named = [part.partition("=") for part in parts if "=" in part]
        if (named and len(named) < len(parts)) or (not named and len(parts) not in DEFAULT_NAMES):
            raise TableError(
                f"expected two or three numbers as in 56/24/20, or a name for each split as in "
                f"train=70/dev=20/test=10, found {text!r}; name every split"
            )
        names = tuple(name.strip() for name, _, _ in named) or DEFAULT_NAMES[len(parts)]
        for name in names:
            check_split_name(name, repr(text), names)
        numbers = [_parse_number(part.rpartition("=")[2], text) for part in parts]
        fractions = [float(number / sum(numbers)) for number in numbers]
        return cls(tuple(zip(names, fractions, strict=True)), group_by, seed)


def check_split_name(name: str, where: str, names: tuple[str, ...] = ()) -> None:
    """Raise TableError if a name cannot be that of a split, or is twice in `names`."""
    if not _NAME.fullmatch(name) or names.count(name) > 1:
        raise TableError(
            f"expected unique lower-case names for the splits, other than 'all', "
            f"found {name!r} in {where}; rename it"
        )


def _parse_number(part: str, text: str) -> Fraction:
    """Parse a positive number exactly, so that the fractions add up to 1."""
    try:
        number = Fraction(part.strip())
    except (ValueError, ZeroDivisionError):
        number = Fraction(0)
    if number <= 0:
        raise TableError(
            f"expected positive numbers separated by slashes as in 56/24/20, "
            f"found {text!r}; give each split a positive number"
        )
    return number

"""What a split should be: its names, its fractions, what may not be torn apart, its seed."""

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from manifests.errors import TableError

#: The names of two or three splits where --split gives only numbers.
USUAL = {2: ("train", "test"), 3: ("train", "validation", "test")}

#: What tensorflow-datasets takes as the name of a split; "all" means every split to it.
_NAME = re.compile(r"(?!all$)[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class SplitPlan:
    """The splits that are wanted.

    Attributes:
        fractions: each split's name and its share of the rows, adding up to 1.
        group_by: what may not stand in two splits: original (a family), part, another
            column of the table (its values and the families together), or none.
        seed: chooses among families that could stand for one another.
    """

    fractions: tuple[tuple[str, float], ...]
    group_by: str = "original"
    seed: int = 42

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the splits, in their order."""
        return tuple(name for name, _ in self.fractions)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The shares of the splits, float64 [splits]."""
        return np.array([weight for _, weight in self.fractions])

    @classmethod
    def parse(cls, text: str, group_by: str = "original", seed: int = 42) -> "SplitPlan":
        """Read "56/24/20", "80/10/10" or "fit=70/dev=30".

        Two or three plain numbers are train/test and train/validation/test. The numbers
        are shares of their sum, so 8/1/1 is 80/10/10.

        Raises:
            TableError: a part is no number above zero, a name is no lower-case word, is
                used twice, or is missing where the number of splits gives none.
        """
        parts = [part.strip() for part in text.split("/")]
        named = [part.partition("=") for part in parts if "=" in part]
        if (named and len(named) < len(parts)) or (not named and len(parts) not in USUAL):
            raise TableError(
                f"expected two or three numbers as in 56/24/20, or a name for each split as in "
                f"train=70/dev=20/test=10, found {text!r}; name every split"
            )
        names = tuple(name.strip() for name, _, _ in named) or USUAL[len(parts)]
        for name in names:
            if not _NAME.fullmatch(name) or names.count(name) > 1:
                raise TableError(
                    f"expected lower-case names for the splits, each used once and none of them "
                    f"'all', found {name!r} in {text!r}; rename it"
                )
        numbers = [_number(part.rpartition("=")[2], text) for part in parts]
        shares = [float(number / sum(numbers)) for number in numbers]
        return cls(tuple(zip(names, shares, strict=True)), group_by, seed)


def _number(part: str, text: str) -> Fraction:
    try:
        number = Fraction(part.strip())
    except (ValueError, ZeroDivisionError):
        number = Fraction(0)
    if number <= 0:
        raise TableError(
            f"expected numbers above zero between the slashes as in 56/24/20, "
            f"found {text!r}; give each split its share"
        )
    return number

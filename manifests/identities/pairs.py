"""identity_pairs.csv: the pairs for a person to settle, closest first."""

import csv
from pathlib import Path

from manifests.files import atomic_file
from manifests.identities.assignment import Identities
from manifests.identities.constraints import COLUMNS

PAIRS = "identity_pairs.csv"


def write_uncertain_pairs(found: Identities, path: Path) -> None:
    """Write the uncertain pairs, atomically, with an empty relation to be filled in."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, "distance", "state"])
        for pair in found.pairs:
            names = (found.families[at].as_py() for at in (pair.first, pair.second))
            state = "joined" if pair.joined else "apart"
            writer.writerow([*names, "", f"{pair.distance:.4f}", state])

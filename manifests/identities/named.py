"""People whom a data set names, beside those that are estimated.

Clips with one named identity show one person, so their groups are joined. Clips with different
names may still be found to show one person: the names of some sets are those of videos.
"""

import pyarrow as pa
import pyarrow.compute as pc

from manifests.identities.constraints import SAME, SettledPair
from manifests.tables.families import family_column


def named_pairs(clips: pa.Table) -> list[SettledPair]:
    """Return pairs of clips that connect the clips of every named identity.

    Args:
        clips: one row per clip with the columns video, family and identity.
    """
    named = clips.filter(pc.is_valid(clips["identity"]))
    first: dict[str, str] = {}
    pairs: dict[tuple[str, str], None] = {}
    for person, family in zip(
        named["identity"].to_pylist(), family_column(named).to_pylist(), strict=True
    ):
        start = first.setdefault(person, family)
        if start != family:
            pairs[start, family] = None
    return [SettledPair(*pair, SAME) for pair in pairs]


def add_names(identities: pa.Table, clips: pa.Table) -> pa.Table:
    """Name the groups after the first named identity in them; their clips have the source `named`.

    Args:
        identities: with the columns of `IDENTITY_SCHEMA`.
        clips: the same clips in the same order, with the column identity.
    """
    named = clips["identity"]
    if named.null_count == clips.num_rows:
        return identities
    groups = pa.table({"group": identities["identity"], "name": named})
    names = groups.filter(pc.is_valid(named)).group_by("group").aggregate([("name", "min")])
    at = pc.index_in(identities["identity"], names["group"])
    columns = {
        "identity": pc.coalesce(names["name_min"].take(at), identities["identity"]),
        "identity_source": pc.if_else(
            pc.is_valid(named), pa.scalar("named"), identities["identity_source"]
        ),
    }
    for name, column in columns.items():
        position = identities.column_names.index(name)
        identities = identities.set_column(position, identities.schema.field(name), column)
    return identities

"""The tables beside the crops, as a recipe and the manifest of its crops give them."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.recipe.file import FACES, OVERRIDDEN, SHARDS, Recipe
from manifests.arrow import IDENTITY_SCHEMA, SHARD_MANIFEST_SCHEMA
from manifests.folders import FacesFolder, ShardsFolder
from manifests.schemas import IDENTITY_COLUMNS, SORT_KEY
from manifests.tables.parquet import bound

#: What the recipe says of a crop beside what the manifest does.
_SPLIT = (
    *("balanced", "split", "joined_family", "shard", "record", "identity_source"),
    *(f"split_{name}" for name in OVERRIDDEN),
)


def faces_tables(recipe: Recipe, manifest: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Yield balanced.parquet and split.parquet by name, those that the recipe has.

    They are not bound to the manifest yet; crops that the manifest lacks are left out.
    """
    columns = recipe.header["columns"]
    if recipe.header["kind"] != FACES:
        return
    rows = _with_splits(recipe, manifest)
    for name, chosen in ((FacesFolder.BALANCED, "balanced"), (FacesFolder.SPLIT, "split")):
        if name in columns:
            mask = rows[chosen]
            mask = pc.fill_null(mask, False) if chosen == "balanced" else pc.is_valid(mask)
            yield name, _selected(manifest, rows, columns[name]).filter(mask)


def shards_manifest(recipe: Recipe, manifest: pa.Table) -> pa.Table:
    """The manifest of the shards, bound as that of the author is; see `faces_tables`."""
    assert recipe.header["kind"] == SHARDS
    rows = _with_splits(recipe, manifest)
    order = pc.sort_indices(rows["record"])  # nulls last
    order = order.slice(0, len(order) - rows["record"].null_count)
    names = recipe.header["columns"][ShardsFolder.MANIFEST]
    return bound(_selected(manifest, rows, names).take(order), recipe.header["manifest"])


def _with_splits(recipe: Recipe, manifest: pa.Table) -> pa.Table:
    """The columns `_SPLIT` of each row of the manifest."""
    numbered = manifest.select(SORT_KEY).append_column(
        "row", pa.array(range(manifest.num_rows), pa.int32())
    )
    known = recipe.table.select([*SORT_KEY, *_SPLIT])
    return numbered.join(known, list(SORT_KEY), join_type="left outer").sort_by("row")


def _selected(manifest: pa.Table, rows: pa.Table, names: list[str]) -> pa.Table:
    """The manifest with the columns of these names: values of its own replaced, others added."""
    by_identity = "identity_source" in names
    for name in names:
        of = SHARD_MANIFEST_SCHEMA
        if by_identity and name in IDENTITY_COLUMNS:
            of = IDENTITY_SCHEMA
        if name in OVERRIDDEN:
            column = pc.coalesce(rows[f"split_{name}"], manifest[name])
            at = manifest.column_names.index(name)
            manifest = manifest.set_column(at, of.field(name), column)
        else:
            manifest = manifest.append_column(of.field(name), rows[name])
    return manifest

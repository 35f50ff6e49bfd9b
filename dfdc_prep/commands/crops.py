"""Write the split crops: as shards, or in the format of another tool."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dfdc_prep.commands.declaration import Given, Option, command, flag
from dfdc_prep.commands.options import (
    AUTO,
    CountParam,
    Crops,
    FoldersCommand,
    GroupBy,
    ImageFormat,
    JoinDuplicates,
    LabelBy,
    LocationParam,
    Out,
    OverwriteExport,
    Quality,
    Seed,
    SeveralFaces,
    Shards,
    Split,
    StrPath,
    TestOnly,
    TextParam,
    as_paths,
    shard_count,
)
from dfdc_prep.commands.terminal import report_hint
from dfdc_prep.storage.workspace import Push, Staged, all_but, staged
from manifests.folders import FacesFolder, ShardsFolder

if TYPE_CHECKING:
    from dfdc_prep.writing.writer import WriteReport
    from manifests.splitting.split import SplitPlan

#: An export in a bucket: its small files are read, the others only listed.
_WHOLE = Push(alone=True, last=(ShardsFolder.SUMS,))
_EXPORT = Staged(all_but(".tar", "/"), _WHOLE)
_TABLES = {
    "balanced": FacesFolder.BALANCED,
    "all": FacesFolder.MANIFEST,
    "split": FacesFolder.SPLIT,
}


def _crops_to_split(arguments: Given) -> Staged:
    table, others = _TABLES[arguments["crops"]], (FacesFolder.IDENTITIES, FacesFolder.MANIFEST)
    return Staged(lambda mirror: mirror.pull_crops(table, *others))


@command(cls=FoldersCommand, hints=lambda result, given: [report_hint(result.out)])
@staged(faces=_crops_to_split, out=Staged(all_but(".tfrecord-"), _WHOLE))
def shard(
    faces: SeveralFaces = "faces",
    out: Annotated[
        StrPath,
        Option(
            LocationParam(writes=True),
            "The shards folder; it appears when it is complete.",
            metavar="[SHARDS]",
        ),
    ] = "shards",
    *,
    split: Split = "56/24/20",
    group_by: GroupBy = "original",
    seed: Seed = 42,
    join_duplicates: JoinDuplicates = True,
    label_by: LabelBy = "clip",
    crops: Crops = "balanced",
    test_only: TestOnly = False,
    shards: Shards = AUTO,
    image_format: ImageFormat = "as-is",
    quality: Quality = 95,
    overwrite: Annotated[bool, flag("Replace shards of another manifest or options.")] = False,
) -> "WriteReport":
    """Split the balanced crops of FACES and write them to SHARDS as TFRecords.

    Families stay in one split as far as they are known, and it is said how many are. The folder
    appears when it is complete, and the same crops and options give the same bytes. TensorFlow
    Datasets, Croissant, pandas and DuckDB read it without this project. Several FACES, of different
    data sets, give equal numbers of crops of each set, and SHARDS must then be named.

    \b
    Example:
      dfdc-prep shard
      dfdc-prep shard faces shards-jpeg --image-format jpeg --quality 95
      dfdc-prep shard faces_dfdc faces_ff faces_celeb shards-mixed
      dfdc-prep shard faces_celeb shards-celeb --crops all --test-only

    Raises:
        TableError: there is no balanced.parquet, `split` or `group_by` cannot be used, or two
            folders cannot be told apart.
        ShardError: a crop is missing, altered or not 224x224.
        OptionsDiffer: `out` holds other shards.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.writing.sources import CropSelection
    from dfdc_prep.writing.tfrecord import TFRecords
    from dfdc_prep.writing.writer import write_crops

    output = TFRecords(shard_count(shards), image_format, quality)
    selection = CropSelection(
        _plan(split, group_by, seed, test_only), crops, label_by, join_duplicates
    )
    return write_crops(as_paths(faces), Path(out), output, selection, overwrite)


@command("deepfakebench", cls=FoldersCommand)
@staged(faces=_crops_to_split, out=_EXPORT)
def export_deepfakebench(
    faces: SeveralFaces = "faces",
    out: Out = "deepfakebench",
    *,
    split: Split = "56/24/20",
    group_by: GroupBy = "original",
    seed: Seed = 42,
    join_duplicates: JoinDuplicates = True,
    label_by: LabelBy = "clip",
    crops: Crops = "balanced",
    test_only: TestOnly = False,
    name: Annotated[
        str, Option(TextParam(), "Name of the data set: letters, digits, - and _.")
    ] = "dfdc_faces",
    crops_per_clip: Annotated[
        int,
        Option(
            CountParam(1),
            "Most crops of a clip, evenly spaced; the benchmark reads the first 32.",
        ),
    ] = 32,
    overwrite: OverwriteExport = False,
) -> "WriteReport":
    """Write the crops of FACES to OUT as a data set of DeepfakeBench.

    Copy the content of OUT into the benchmark's checkout. The validation split is the test split
    of the second data set NAME_val, because the benchmark never reads a data set's own.

    \b
    Example:
      dfdc-prep export deepfakebench faces deepfakebench --name my_faces
      cp -r deepfakebench/datasets deepfakebench/preprocessing DeepfakeBench/

    Raises:
        TableError: as for `shard`, or a split has no crops.
        ShardError: a crop is missing or altered.
        OptionsDiffer: `out` holds another export.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.writing.deepfakebench import DeepfakeBench
    from dfdc_prep.writing.sources import CropSelection
    from dfdc_prep.writing.writer import write_crops

    output = DeepfakeBench(name, crops_per_clip)
    selection = CropSelection(
        _plan(split, group_by, seed, test_only), crops, label_by, join_duplicates
    )
    return write_crops(as_paths(faces), Path(out), output, selection, overwrite)


@command("webdataset", cls=FoldersCommand)
@staged(faces=_crops_to_split, out=_EXPORT)
def export_webdataset(
    faces: SeveralFaces = "faces",
    out: Out = "webdataset",
    *,
    split: Split = "56/24/20",
    group_by: GroupBy = "original",
    seed: Seed = 42,
    join_duplicates: JoinDuplicates = True,
    label_by: LabelBy = "clip",
    crops: Crops = "balanced",
    test_only: TestOnly = False,
    shards: Shards = AUTO,
    image_format: ImageFormat = "as-is",
    quality: Quality = 95,
    overwrite: OverwriteExport = False,
) -> "WriteReport":
    """Write the crops of FACES to OUT as tar files, for webdataset and PyTorch.

    A sample has the files png or jpg, cls (0 REAL, 1 FAKE), json and, where there is one,
    mask.png.

    \b
    Example:
      dfdc-prep export webdataset faces webdataset

    Raises:
        TableError: as for `shard`, or a split has no crops.
        ShardError: a crop is missing or altered.
        OptionsDiffer: `out` holds another export.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.writing.sources import CropSelection
    from dfdc_prep.writing.webdataset import WebDataset
    from dfdc_prep.writing.writer import write_crops

    output = WebDataset(shard_count(shards), image_format, quality)
    selection = CropSelection(
        _plan(split, group_by, seed, test_only), crops, label_by, join_duplicates
    )
    return write_crops(as_paths(faces), Path(out), output, selection, overwrite)


@command("huggingface", cls=FoldersCommand)
@staged(faces=_crops_to_split, out=_EXPORT)
def export_huggingface(
    faces: SeveralFaces = "faces",
    out: Out = "huggingface",
    *,
    split: Split = "56/24/20",
    group_by: GroupBy = "original",
    seed: Seed = 42,
    join_duplicates: JoinDuplicates = True,
    label_by: LabelBy = "clip",
    crops: Crops = "balanced",
    test_only: TestOnly = False,
    shards: Shards = AUTO,
    image_format: ImageFormat = "as-is",
    quality: Quality = 95,
    overwrite: OverwriteExport = False,
) -> "WriteReport":
    """Write the crops of FACES to OUT as parquet files that datasets.load_dataset opens.

    \b
    Example:
      dfdc-prep export huggingface faces huggingface

    Raises:
        TableError: as for `shard`, or a split has no crops.
        ShardError: a crop is missing or altered.
        OptionsDiffer: `out` holds another export.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.writing.huggingface import HuggingFace
    from dfdc_prep.writing.sources import CropSelection
    from dfdc_prep.writing.writer import write_crops

    output = HuggingFace(shard_count(shards), image_format, quality)
    selection = CropSelection(
        _plan(split, group_by, seed, test_only), crops, label_by, join_duplicates
    )
    return write_crops(as_paths(faces), Path(out), output, selection, overwrite)


def _plan(split: str, group_by: str, seed: int, test_only: bool) -> "SplitPlan":
    from manifests.splitting.sets import only_test
    from manifests.splitting.split import SplitPlan

    return only_test(group_by, seed) if test_only else SplitPlan.parse(split, group_by, seed)

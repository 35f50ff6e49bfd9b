"""Write the split crops: as shards, or in the format of another tool."""

from pathlib import Path
from typing import TYPE_CHECKING

from dfdc_prep import options
from dfdc_prep.api.arguments import Folders, StrPath, as_paths
from dfdc_prep.options import AUTO, checked
from dfdc_prep.staging import Staged, all_but, crops_to_split, staged
from manifests.folders import ShardsFolder

if TYPE_CHECKING:
    from dfdc_prep.writing.export import ExportReport, Format
    from dfdc_prep.writing.sources import CropChoice
    from dfdc_prep.writing.writer import ShardReport
    from manifests.splitting.spec import SplitPlan

#: An export in a bucket: its small files are read, the others only listed.
_EXPORT = Staged(all_but(".tar", "/"), writes=True, alone=True, last=(ShardsFolder.SUMS,))


@checked(options.SHARD)
@staged(
    faces=crops_to_split,
    out=Staged(all_but(".tfrecord-"), writes=True, alone=True, last=(ShardsFolder.SUMS,)),
)
def shard(
    faces: Folders = "faces",
    out: StrPath = "shards",
    *,
    split: str = "56/24/20",
    group_by: str = "original",
    seed: int = 42,
    join_duplicates: bool = True,
    label_by: str = "clip",
    crops: str = "balanced",
    test_only: bool = False,
    shards: int | str = AUTO,
    image_format: str = "as-is",
    quality: int = 95,
    overwrite: bool = False,
) -> "ShardReport":
    """Split the balanced crops and write them as TFRecord shards.

    Several folders are joined: each data set gives as many crops of each label as the smallest
    has, of each method of its fakes the same number where there are enough clips, and each data
    set is split by itself.

    Args:
        faces: a faces folder with balanced.parquet, or several, of different data sets.
        out: the shards folder; it appears when it is complete.
        split, group_by: as for the function `split`.
        seed: of the split and of the shuffle within it.
        label_by: as for `balance`.
        crops: balanced; all, those of manifest.parquet; or split, those of split.parquet with
            the splits it gives, instead of `split` and `group_by`.
        test_only: put all crops into the split test, instead of `split`.
        join_duplicates: put families whose crops are the same or nearly so into one split.
        shards: number of train shards, 1 to 9999; auto for 16 or more of 20 to 200 MB each
            where there is enough data.
        image_format: as-is copies the crops; jpeg encodes them again.
        quality: of the JPEGs, 1 to 100.
        overwrite: replace shards of another manifest or of other options.

    Raises:
        TableError: there is no balanced.parquet, `split` or `group_by` cannot be used, or two
            folders cannot be told apart.
        ShardError: a crop is missing, altered or not 224x224.
        OptionsDiffer: `out` holds other shards.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.writing.writer import ShardOptions, write_shards

    plan = _plan(split, group_by, seed, test_only)
    count = None if shards == AUTO else int(shards)
    how = ShardOptions(
        plan,
        count,
        image_format,
        quality,
        overwrite,
        label_by=label_by,
        crops=crops,
        join_duplicates=join_duplicates,
    )
    return write_shards(as_paths(faces), Path(out), how)


@checked(options.EXPORT_DEEPFAKEBENCH)
@staged(faces=crops_to_split, out=_EXPORT)
def export_deepfakebench(
    faces: Folders = "faces",
    out: StrPath = "deepfakebench",
    *,
    split: str = "56/24/20",
    group_by: str = "original",
    seed: int = 42,
    join_duplicates: bool = True,
    label_by: str = "clip",
    crops: str = "balanced",
    test_only: bool = False,
    name: str = "dfdc_faces",
    crops_per_clip: int = 32,
    overwrite: bool = False,
) -> "ExportReport":
    """Write the crops as a data set of DeepfakeBench, to copy into its checkout.

    The validation split is also the test split of a second data set, whose name ends in _val,
    because the benchmark never reads a data set's own.

    Args:
        faces, split, group_by, seed, label_by, crops, test_only, join_duplicates: as for `shard`.
        out: the folder to write; it appears when it is complete.
        name: of the data set in the benchmark: letters, digits, - and _.
        crops_per_clip: most crops of a clip, evenly spaced; the benchmark reads the first 32.
        overwrite: replace an export of other crops or options.

    Raises:
        TableError: as for `shard`, or a split has no crops.
        ShardError: a crop is missing or altered.
        OptionsDiffer: `out` holds another export.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.writing.deepfakebench import DeepfakeBench
    from dfdc_prep.writing.sources import CropChoice

    form = DeepfakeBench(name, crops_per_clip)
    choice = CropChoice(_plan(split, group_by, seed, test_only), crops, label_by, join_duplicates)
    return _export(form, as_paths(faces), Path(out), choice, overwrite)


@checked(options.EXPORT_SHARDS)
@staged(faces=crops_to_split, out=_EXPORT)
def export_webdataset(
    faces: Folders = "faces",
    out: StrPath = "webdataset",
    *,
    split: str = "56/24/20",
    group_by: str = "original",
    seed: int = 42,
    join_duplicates: bool = True,
    label_by: str = "clip",
    crops: str = "balanced",
    test_only: bool = False,
    shards: int | str = AUTO,
    image_format: str = "as-is",
    quality: int = 95,
    overwrite: bool = False,
) -> "ExportReport":
    """Write the crops as tar files, for `webdataset` and PyTorch.

    Args:
        faces, split, group_by, seed, label_by, crops, test_only, join_duplicates: as for `shard`.
        out: the folder to write; it appears when it is complete.
        shards, image_format, quality: as for `shard`.
        overwrite: replace an export of other crops or options.

    Raises:
        TableError: as for `shard`, or a split has no crops.
        ShardError: a crop is missing or altered.
        OptionsDiffer: `out` holds another export.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.writing.records import ShardSettings
    from dfdc_prep.writing.sources import CropChoice
    from dfdc_prep.writing.webdataset import WebDataset

    count = None if shards == AUTO else int(shards)
    form = WebDataset(ShardSettings(count, image_format, quality))
    choice = CropChoice(_plan(split, group_by, seed, test_only), crops, label_by, join_duplicates)
    return _export(form, as_paths(faces), Path(out), choice, overwrite)


@checked(options.EXPORT_SHARDS)
@staged(faces=crops_to_split, out=_EXPORT)
def export_huggingface(
    faces: Folders = "faces",
    out: StrPath = "huggingface",
    *,
    split: str = "56/24/20",
    group_by: str = "original",
    seed: int = 42,
    join_duplicates: bool = True,
    label_by: str = "clip",
    crops: str = "balanced",
    test_only: bool = False,
    shards: int | str = AUTO,
    image_format: str = "as-is",
    quality: int = 95,
    overwrite: bool = False,
) -> "ExportReport":
    """Write the crops as parquet files that `datasets.load_dataset` opens.

    Args:
        faces, split, group_by, seed, label_by, crops, test_only, join_duplicates: as for `shard`.
        out: the folder to write; it appears when it is complete.
        shards, image_format, quality: as for `shard`.
        overwrite: replace an export of other crops or options.

    Raises:
        TableError: as for `shard`, or a split has no crops.
        ShardError: a crop is missing or altered.
        OptionsDiffer: `out` holds another export.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.writing.huggingface import HuggingFace
    from dfdc_prep.writing.records import ShardSettings
    from dfdc_prep.writing.sources import CropChoice

    count = None if shards == AUTO else int(shards)
    form = HuggingFace(ShardSettings(count, image_format, quality))
    choice = CropChoice(_plan(split, group_by, seed, test_only), crops, label_by, join_duplicates)
    return _export(form, as_paths(faces), Path(out), choice, overwrite)


def _plan(split: str, group_by: str, seed: int, test_only: bool) -> "SplitPlan":
    from manifests.splitting.sets import only_test
    from manifests.splitting.spec import SplitPlan

    return only_test(group_by, seed) if test_only else SplitPlan.parse(split, group_by, seed)


def _export(
    form: "Format", faces: tuple[Path, ...], out: Path, choice: "CropChoice", overwrite: bool
) -> "ExportReport":
    from dfdc_prep.writing.export import write_export

    return write_export(faces, out, choice, form, overwrite)

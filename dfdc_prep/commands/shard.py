"""Write the split crops: as shards, or in the format of another tool."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Unpack

import click
from click.core import ParameterSource

from dfdc_prep.commands.declaration import Given, Option, command, flag
from dfdc_prep.commands.options import (
    AUTO,
    LOCATION,
    PATH,
    SHARD_COUNT,
    TEXT,
    WRITABLE,
    CountParam,
    Folders,
    GroupBy,
    JoinDuplicates,
    LabelBy,
    Seed,
    Split,
    StrPath,
)
from dfdc_prep.commands.terminal import report_hint
from dfdc_prep.storage.workspace import Push, Staged, all_but, staged
from manifests.folders import FacesFolder, ShardsFolder

if TYPE_CHECKING:
    from dfdc_prep.writing.writer import Format, WriteReport

SeveralFaces = Annotated[
    Folders,
    Option(
        LOCATION,
        "A faces folder with balanced.parquet, or several, of different data sets.",
        metavar="[FACES]...",
        nargs=-1,
    ),
]
Out = Annotated[
    StrPath,
    Option(WRITABLE, "The folder to write; it appears when it is complete.", metavar="[OUT]"),
]
_CROPS = Option(
    click.Choice(["balanced", "all", "split"]),
    "Those of balanced.parquet; all of manifest.parquet; or those of split.parquet, with the "
    "splits it gives for --split.",
)
_SHARDS = Option(SHARD_COUNT, "Train shards; auto: 16 or more of 20 to 200 MB, given enough data.")
_IMAGE_FORMAT = Option(
    click.Choice(["as-is", "jpeg"]),
    "Copy the crops, or re-encode them: smaller, but some traces of fakes are lost.",
)
_CARD = Option(
    PATH,
    "JSON or TOML with what the crops do not show, such as dataSocialImpact, license or creator.",
    none="those fields are left out",
)
_OVERWRITE = flag("Replace shards or an export of other crops or options.")


class CropOptions(TypedDict, total=False):
    """Which crops are written, into which splits; each option with its default."""

    split: Annotated[Split, "56/24/20"]
    group_by: Annotated[GroupBy, "original"]
    seed: Annotated[Seed, 42]
    join_duplicates: Annotated[JoinDuplicates, True]
    label_by: Annotated[LabelBy, "clip"]
    crops: Annotated[str, _CROPS, "balanced"]
    test_only: Annotated[bool, flag("Put all crops into the split test, for --split."), False]


class ShardOptions(CropOptions, total=False):
    """The same for formats in shards, and how these are written."""

    shards: Annotated[int | str, _SHARDS, AUTO]
    image_format: Annotated[str, _IMAGE_FORMAT, "as-is"]
    quality: Annotated[int, Option(click.IntRange(1, 100), "Quality of the JPEGs."), 95]
    overwrite: Annotated[bool, _OVERWRITE, False]


class CardOptions(ShardOptions, total=False):
    """The same, and what the metadata say that the crops do not show."""

    card: Annotated[StrPath | None, _CARD, None]


class BenchOptions(CropOptions, total=False):
    """The same for DeepfakeBench."""

    name: Annotated[
        str, Option(TEXT, "Name of the data set: letters, digits, - and _."), "dfdc_faces"
    ]
    crops_per_clip: Annotated[
        int,
        Option(
            CountParam(1), "Most crops of a clip, evenly spaced; the benchmark reads the first 32."
        ),
        32,
    ]
    overwrite: Annotated[bool, _OVERWRITE, False]


class FoldersCommand(click.Command):
    """A command with the arguments [FACES]... [OUT]; a single one is FACES."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        given = ctx.params
        if not given["faces"] and self._is_given(ctx, "out"):
            default = next(each for each in self.params if each.name == "out").get_default(ctx)
            given["faces"], given["out"] = (given["out"],), Path(str(default))
        given["faces"] = given["faces"] or Path("faces")
        without_effect = []
        if given["crops"] == "split":
            without_effect = [("--crops split", n) for n in ("split", "group_by", "test_only")]
        elif given["test_only"]:
            without_effect = [("--test-only", "split")]
        for decisive, name in without_effect:
            if self._is_given(ctx, name):
                option = f"--{name.replace('_', '-')}"
                raise click.UsageError(
                    f"{option} has no effect with {decisive}; leave it out.", ctx
                )
        return rest

    @staticmethod
    def _is_given(ctx: click.Context, name: str) -> bool:
        return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


#: An export in a bucket: its small files are read, the others only listed.
_WHOLE = Push(alone=True, last=(ShardsFolder.SUMS,))
_EXPORT = Staged(all_but(".tar", "/"), _WHOLE)
_TABLES = {
    "balanced": FacesFolder.BALANCED,
    "all": FacesFolder.MANIFEST,
    "split": FacesFolder.SPLIT,
}


def _crops_to_split(arguments: Given) -> Staged:
    table = _TABLES[arguments["options"]["crops"]]
    others = (FacesFolder.IDENTITIES, FacesFolder.MANIFEST)
    return Staged(lambda mirror: mirror.pull_crops(table, *others))


@command(cls=FoldersCommand, hints=lambda result, given: [report_hint(result.out)])
@staged(faces=_crops_to_split, out=Staged(all_but(".tfrecord-"), _WHOLE))
def shard(
    faces: SeveralFaces = "faces",
    out: Annotated[StrPath, Option(WRITABLE, metavar="[SHARDS]")] = "shards",
    **options: Unpack[CardOptions],
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
      dfdc-prep shard faces shards-described --card card.json
      dfdc-prep shard faces_dfdc faces_ff faces_celeb shards-mixed
      dfdc-prep shard faces_celeb shards-celeb --crops all --test-only

    Args:
        out: The shards folder; it appears when it is complete.

    Raises:
        TableError: there is no balanced.parquet, `split` or `group_by` cannot be used, two
            folders cannot be told apart, or `card` has another field or value than a card.
        ShardError: a crop is missing, altered or not 224x224.
        OptionsDiffer: `out` holds other shards.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.writing.tfrecord import TFRecords

    return _write(
        faces, out, TFRecords(*_sharding(options), _card(options)), options, options["overwrite"]
    )


@command("deepfakebench", cls=FoldersCommand)
@staged(faces=_crops_to_split, out=_EXPORT)
def export_deepfakebench(
    faces: SeveralFaces = "faces", out: Out = "deepfakebench", **options: Unpack[BenchOptions]
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

    output = DeepfakeBench(options["name"], options["crops_per_clip"])
    return _write(faces, out, output, options, options["overwrite"])


@command("webdataset", cls=FoldersCommand)
@staged(faces=_crops_to_split, out=_EXPORT)
def export_webdataset(
    faces: SeveralFaces = "faces", out: Out = "webdataset", **options: Unpack[ShardOptions]
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
    from dfdc_prep.writing.webdataset import WebDataset

    return _write(faces, out, WebDataset(*_sharding(options)), options, options["overwrite"])


@command("huggingface", cls=FoldersCommand)
@staged(faces=_crops_to_split, out=_EXPORT)
def export_huggingface(
    faces: SeveralFaces = "faces", out: Out = "huggingface", **options: Unpack[CardOptions]
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

    return _write(
        faces, out, HuggingFace(*_sharding(options), _card(options)), options, options["overwrite"]
    )


def _sharding(options: ShardOptions) -> tuple[int | None, str, int]:
    """The number of train shards, None for auto, and the format and the quality of the images."""
    count = None if options["shards"] == AUTO else int(options["shards"])
    return count, options["image_format"], options["quality"]


def _card(options: CardOptions) -> dict[str, list[str]]:
    """The fields that the file of --card gives, none without it."""
    from dfdc_prep.writing.card import read_card

    return read_card(Path(options["card"])) if options["card"] else {}


def _write(
    faces: Any, out: StrPath, output: "Format", options: CropOptions, overwrite: bool
) -> "WriteReport":
    """Write the crops of the folders, a tuple of them after the command's checks."""
    from dfdc_prep.writing.sources import CropSelection
    from dfdc_prep.writing.writer import write_crops
    from manifests.splitting.sets import only_test
    from manifests.splitting.split import SplitPlan

    if not faces:
        raise ValueError("faces: expected a faces folder, found none")
    group_by, seed = options["group_by"], options["seed"]
    only = options["test_only"]
    plan = only_test(group_by, seed) if only else SplitPlan.parse(options["split"], group_by, seed)
    selection = CropSelection(
        plan, options["crops"], options["label_by"], options["join_duplicates"]
    )
    return write_crops([Path(each) for each in faces], Path(out), output, selection, overwrite)

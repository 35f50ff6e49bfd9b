"""A recipe of a data set, to hand on: write it, and rebuild the data set from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

import click
from click.core import ParameterSource

from dfdc_prep.commands.declaration import Given, Option, command
from dfdc_prep.commands.extract import MARGIN, Running, preload_workers, run_options
from dfdc_prep.commands.options import LOCATION, PATH, WRITABLE, FacesOut, StrPath
from dfdc_prep.commands.terminal import DONE_WITH_FAILURES, report_hint
from dfdc_prep.errors import RecipeError
from dfdc_prep.storage.urls import as_location
from dfdc_prep.storage.workspace import Mirror, Push, Staged, staged
from manifests.folders import FacesFolder, ShardsFolder
from manifests.schemas import CROP_SIZE

if TYPE_CHECKING:
    from dfdc_prep.extraction.summary import RunSummary
    from dfdc_prep.recipe.comparison import Comparison
    from dfdc_prep.recipe.page import RecipeReport


def _all_of_a_folder(mirror: Mirror) -> None:
    """Fetch a faces folder with its crops, or what lies beside the shards of a shards folder."""
    if ShardsFolder.INFO in mirror.pull(ShardsFolder.INDEX):
        return
    tables = (FacesFolder.CLIPS, FacesFolder.RUN, FacesFolder.JOURNAL)
    mirror.pull_crops(FacesFolder.MANIFEST, *tables, FacesFolder.BALANCED, FacesFolder.SPLIT)


@command("recipe")
@staged(path=Staged(_all_of_a_folder), faces=Staged(_all_of_a_folder), out=Staged((), Push()))
def make_recipe(
    path: Annotated[StrPath, LOCATION],
    out: Annotated[StrPath | None, WRITABLE] = None,
    *,
    faces: Annotated[StrPath, LOCATION] = "faces",
    source: Annotated[StrPath | None, PATH] = None,
    table: Annotated[StrPath | None, PATH] = None,
    card: Annotated[StrPath | None, PATH] = None,
    landmarks: bool = False,
    margin: Annotated[float | None, MARGIN] = None,
    size: Annotated[int | None, click.IntRange(16, 4096)] = None,
    show: bool = False,
) -> "RecipeReport":
    """Write the recipe of the data set in PATH to OUT: no picture, but all to make it again from.

    PATH is a faces or a shards folder. The recipe has the hash of each clip and crop, frames,
    boxes, options, splits and versions. With it, rebuild makes the same crops from another copy of
    the clips. It is a parquet file that pandas and DuckDB read. It is checked against PATH before
    it is written. A run that was killed goes on by the same command. PATH may also be boxes that
    somebody published: a CSV or parquet table with video or path, frame, and x, y, w, h or x1, y1,
    x2, y2; or the folder of JSON files that selimsef's pipeline writes.

    \b
    Example:
      dfdc-prep recipe faces faces.recipe --card card.json
      dfdc-prep recipe shards shards.recipe --faces faces
      dfdc-prep recipe boxes.csv theirs.recipe --source dfdc
      dfdc-prep recipe faces.recipe --show

    Args:
        path: A faces or a shards folder, or published boxes; with --show, a recipe.
        out: The recipe to write. None: PATH.recipe here.
        faces: The faces folder that shards were made from.
        source: The folder of the clips. None: the one that extract read.
        table: The CSV that extract read by --table.
        card: JSON or TOML with who may use the data set and how to cite it, as for shard. None:
            the terms of the clips.
        landmarks: Keep the landmarks of crops that are not aligned by them, a fifth more bytes.
        size: Of published boxes: side of the crops, pixels. None: 224.
        show: Print what a recipe says of itself, and write nothing.

    Raises:
        RecipeError: a recipe cannot hold what is in `path`; or, with `show`, it is not a recipe.
        TableError: a table is missing or invalid, or `card` has another field or value than one.
        ShardError: a crop is missing or altered.
        SourceError: a clip is missing.
        OutputError: another run writes the recipe.
    """
    from dfdc_prep.recipe.making import Author, make, show_recipe
    from dfdc_prep.recipe.published import Cut, is_boxes, make_of_boxes
    from dfdc_prep.writing.card import read_card

    folder = Path(path)
    if show:
        return show_recipe(folder)
    clips = None if source is None else Path(source)
    given = read_card(Path(card)) if card else {}
    target = Path(f"{folder.resolve().name}.recipe") if out is None else Path(out)
    if folder.is_file() or (folder.is_dir() and is_boxes(folder)):
        cut = Cut(MARGIN.or_preset(margin, "paper"), CROP_SIZE if size is None else size)
        return make_of_boxes(folder, target, clips, cut, given)
    if margin is not None or size is not None:
        raise RecipeError(
            f"expected --margin and --size with published boxes, found {folder}, whose crops have "
            "theirs; leave them out"
        )
    known = None if table is None else Path(table)
    return make(folder, target, Author(Path(faces), clips, known, given, landmarks))


class RebuildCommand(click.Command):
    """A command with the arguments RECIPE [SOURCE] [OUT] [SHARDS]; --verify takes no SOURCE."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        given = ctx.params
        if given["verify"]:
            if given["shards"] is not None:
                raise click.UsageError("--verify reads no SOURCE; leave it out.", ctx)
            for name, after in (("shards", "out"), ("out", "source")):
                if ctx.get_parameter_source(after) is ParameterSource.COMMANDLINE:
                    given[name] = given[after]
                    continue
                parameter = next(each for each in self.params if each.name == name)
                given[name] = parameter.type_cast_value(ctx, parameter.get_default(ctx))
        return rest


def _hints(result: "Comparison | RunSummary", given: Given) -> Iterator[str]:
    if not given["verify"] and not given["slice"]:
        yield report_hint(result.out)


def _exit_code(result: "Comparison | RunSummary") -> int:
    failed = result.ok is False if hasattr(result, "ok") else result.failed
    return DONE_WITH_FAILURES if failed else 0


def _shards(given: Given) -> Staged:
    push = Push(alone=True, last=(ShardsFolder.SUMS,))
    return Staged(Mirror.pull_all, None if given["verify"] else push)


@command(cls=RebuildCommand, hints=_hints, exit_code=_exit_code, has_json=True)
@staged(shards=_shards)
def rebuild(
    recipe: Annotated[StrPath, PATH],
    source: Annotated[StrPath, LOCATION] = "dfdc",
    out: FacesOut = "faces",
    shards: Annotated[StrPath | None, Option(WRITABLE, metavar="[SHARDS]")] = None,
    *,
    verify: bool = False,
    **running: Unpack[Running],
) -> "Comparison | RunSummary":
    """Rebuild the data set of RECIPE from the clips below SOURCE (dfdc), into OUT (faces).

    The crops, the tables and, from a recipe of shards, SHARDS are those of the author wherever the
    clips are. Frames and face boxes are those of the recipe, so that no detector runs. A table says
    what is the same as the author's, to the byte or to the pixel, and what is not; the exit code is
    0 only if every crop is the same, or none can be compared, else 3. To resume an interrupted run,
    run the same command again; once all slices are done, run it without --slice.

    \b
    Example:
      dfdc-prep rebuild theirs.recipe dfdc faces
      dfdc-prep rebuild theirs.recipe dfdc faces shards
      dfdc-prep rebuild --verify theirs.recipe faces

    Args:
        recipe: The file that dfdc-prep recipe wrote.
        source: The folder of the clips, laid out as the author's or otherwise.
        shards: The shards folder to write, of a recipe of shards.
        verify: Only compare OUT and SHARDS with the recipe: RECIPE OUT [SHARDS], without SOURCE.

    Raises:
        ValueError: a value is not allowed.
        RecipeError: `recipe` is not a recipe, is damaged, or holds no shards.
        SourceError: there is no folder `source`; or, with `verify`, no folder `out`.
        OutputError: `out` or `shards` cannot be written, or another run is writing it.
        OptionsDiffer: `out` was begun with another recipe, or `shards` has others.
        WorkersError: worker processes cannot be started.
    """
    target = None if shards is None else Path(shards)
    if verify:
        from dfdc_prep.recipe.rebuild import verify as compare

        return compare(Path(recipe), as_location(out), target)
    preload_workers(recipe, running["engine"])

    from dfdc_prep.recipe.rebuild import rebuild as run

    return run(Path(recipe), as_location(source), as_location(out), target, run_options(running))

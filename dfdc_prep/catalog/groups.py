"""Groups: folders of clips of one label, which data sets that are laid out by folders consist of.

Does what their readers share: it lists the clips of each group and reads their names.
"""

import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from dfdc_prep.catalog.clips import Entry, Provenance
from dfdc_prep.catalog.files import (
    clip_sizes,
    file_sizes,
    is_file_name,
    is_video,
    unread_folders,
)
from manifests.relatives import Convention, People
from manifests.wording import listed

#: Folders of a group that the clips may be in, in order of preference.
INNER = ("videos", "images", "frames")


class Group(NamedTuple):
    """A folder of clips of one label."""

    part: str  # the name of the group
    folder: Path
    label: str
    method: str | None = None  # how its fakes were made
    conventions: tuple[Convention, ...] = ()  # how its clips are named; empty if that is not known
    listed: tuple[str, ...] = ()  # clips that a list names; those not in the folder are missing
    masks: Path | None = None  # the folder of videos of masks, named as the clips


def inner_folder(folder: Path) -> Path | None:
    """The folder `videos`, `images` or `frames` of a folder, None if it has none."""
    return next((folder / name for name in INNER if (folder / name).is_dir()), None)


def left_out(strange: list[str], dataset: str) -> tuple[list[str], list[str]]:
    """The note on clips not named as a data set's are, and those that no terminal shows."""
    notes = [f"not named as in {dataset}, left out: {listed(strange)}"] if strange else []
    return notes, [name for name in strange if not name.isprintable()]


def unread(source: Path, groups: Iterable[Group], but: str = "") -> list[str]:
    """A note on the folders with videos that are those of no group, nor in the folder `but`."""
    read = {group.folder for group in groups}
    paths = [folder.relative_to(source) for folder in unread_folders(source, read)]
    names = [str(path) for path in paths if path.parts[:1] != (but,)]
    return [f"folders whose clips are left out: {listed(names)}"] if names else []


def read_groups(
    groups: Iterable[Group],
    dataset: str | None,
    split_of: Callable[[Group, str, str | None], str | None],
) -> tuple[list[Entry], list[str]]:
    """List the clips of groups; and, as part/video, those whose names their group cannot have.

    Args:
        split_of: the official split of a clip, by its group, its name and the person filmed.

    Raises:
        SourceError, SourceUnreachable: a folder or the size of a clip cannot be read.
    """
    entries: list[Entry] = []
    strange: list[str] = []
    provenance = cache(Provenance)  # clips share equal values
    for group in groups:
        sizes: dict[str, int | None] = {**clip_sizes(group.folder)}
        sizes |= {video: None for video in group.listed if video not in sizes}
        masks = file_sizes(group.masks) if group.masks else {}
        for video in sorted(sizes):
            named: People | None = None if group.conventions else (None, None, None)
            for convention in group.conventions:
                if named := convention.read(group.label, video):
                    break
            if named is None or not is_file_name(video):
                strange.append(f"{group.part}/{video}")
                continue
            original, filmed, shown = named
            split = split_of(group, video, filmed)
            about = provenance(dataset, group.method, filmed, shown, split)
            path = f"{group.folder}{os.sep}{video}"
            mask = None
            if video in masks and is_video(video):
                mask = f"{group.masks}{os.sep}{video}", masks[video]
            entries.append(
                Entry(group.part, video, group.label, original, path, sizes[video], about, mask)
            )
    return entries, strange

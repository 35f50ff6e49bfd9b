"""Runs `identify`: encodes the clips of a faces folder, compares their pictures, groups them."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.crops.files import path_inside
from dfdc_prep.errors import OutputError
from dfdc_prep.identities.encoder import (
    ClipCandidates,
    choose_candidates,
    encode_clip,
    init_worker,
    model_files,
)
from dfdc_prep.identities.encodings import collect_encodings, known_keys, store_encodings
from dfdc_prep.identities.page import write_identities_page
from dfdc_prep.parallel.confinement import why_unconfined
from dfdc_prep.parallel.processes import LocalWorkers, run_tasks
from dfdc_prep.parallel.threads import available_cores
from dfdc_prep.progress import Progress
from dfdc_prep.writing.sources import read_pictures
from manifests.files import Journal, file_sha256, is_temporary
from manifests.folders import FacesFolder
from manifests.identities.evidence import compare_pictures
from manifests.identities.people import THRESHOLD, Identities, assign_identities
from manifests.identities.table import (
    SettledPair,
    add_names,
    merge_pairs,
    named_pairs,
    read_pairs,
    write_pairs,
)
from manifests.labels import REAL
from manifests.result import Result, TextTable
from manifests.tables.parquet import (
    bound,
    manifest_hash,
    read_manifest,
    unlabelled_lines,
    write_table,
)
from manifests.wording import counted

#: Seconds a clip may take.
_TIMEOUT = 120.0


@dataclass(frozen=True)
class IdentifyReport(Result):
    """What `identify` found."""

    out: Path  # the faces folder
    clips: int  # REAL clips with a crop
    fakes: int  # fake clips that stand for a family without a REAL crop
    compared: int  # crops whose pictures were compared
    crops: int  # all crops
    encoded: int  # crops encoded, of all runs
    unencoded: tuple[str, ...]  # clips whose worker died or timed out, part/video
    identities: Identities
    unconfined: str | None  # why the workers could not be confined; None if they were
    notes: Sequence[str]  # on crops that were left out

    def text(self) -> str:
        found = self.identities
        families, people = len(found.families), found.people
        fakes = f" and {counted(self.fakes, 'fake')} of families without one" if self.fakes else ""
        joined = sum(pair.joined for pair in found.pairs)
        lines = [
            f"{counted(self.clips, 'REAL clip')}{fakes}, {counted(self.encoded, 'face')} encoded",
            f"{self.compared:,} of {counted(self.crops, 'picture')} compared; families with one "
            f"that is near-identical to another family's: {found.alike:,}",
            f"{counted(families, 'family')}: {len(found.identified - found.faked):,} with a face "
            f"of their original, {len(found.faked):,} only with that of a fake",
        ]
        if people:
            largest = counted(people[0][1], "family")
            lines.append(f"people estimated: {len(people):,}, each in at most {largest}")
        lines.append(
            f"{counted(len(found.doubts), 'family')} uncertain; to look at, those that change a "
            f"split most: {counted(len(found.pairs) - joined, 'pair')} kept apart, "
            f"{joined:,} joined"
        )
        lines += self.notes
        lines += [f"not encoded, its worker failed: {name}" for name in self.unencoded[:5]]
        if len(self.unencoded) > 5:
            lines.append(f"and {len(self.unencoded) - 5:,} more")
        if self.unconfined:
            lines.append(f"confinement of the workers: off: {self.unconfined}")
        lines.append(f"written to {self.table}; look at {self.out / FacesFolder.IDENTITIES_PAGE}")
        return "\n".join(lines)

    @property
    def table(self) -> Path:
        """The identities, one row per clip."""
        return self.out / FacesFolder.IDENTITIES

    @property
    def failed(self) -> int:
        """Number of clips whose worker died or timed out."""
        return len(self.unencoded)

    def cells(self) -> TextTable:
        found = self.identities
        names = found.families.to_pylist()
        return TextTable(
            ("person", "families"), ([names[person], count] for person, count in found.people)
        )


@dataclass(frozen=True)
class ForgetReport(Result):
    """The encodings and pictures that were removed from the faces folder `out`."""

    out: Path
    removed: tuple[str, ...]
    failed = 0

    def text(self) -> str:
        removed = ", ".join(self.removed) or "nothing, there was none"
        return (
            f"removed from {self.out}: {removed}\n"
            "kept: the crops, identities.parquet and identity_settled.csv, if any"
        )

    def cells(self) -> TextTable:
        return TextTable(("removed",), ([name] for name in self.removed))


def identify(
    faces: Path,
    threshold: float = THRESHOLD,
    settled: Sequence[SettledPair] = (),
    pairs: Path | None = None,
    workers: int | None = None,
) -> IdentifyReport:
    """Estimate who is filmed in every clip of a faces folder; continue an earlier run.

    Writes identities.parquet, identity_encodings.parquet, identity_pairs.csv, identities.html
    and, if pairs are given, identity_settled.csv.

    Args:
        threshold: largest average distance at which two groups are joined.
        settled, pairs: pairs that a person decided, beside those kept in the folder; a CSV of more.
        workers: number of processes; None for one per core.

    Raises:
        TableError: the manifest or a pair cannot be used, or pairs contradict each other.
        ShardError: a crop is missing, altered or outside the folder.
        ModelError: dlib or its models are missing.
        OutputError: the folder cannot be written, or another run is writing it.
        WorkersError: worker processes cannot be started.
    """
    FacesFolder.check_is_one(faces)
    made_from = manifest_hash(faces)
    manifest = read_manifest(faces / FacesFolder.MANIFEST, "dfdc-prep extract")
    # The keys of the encodings depend on the encoder's files.
    model = " ".join(file_sha256(path) for path in model_files())
    root = os.path.realpath(faces)
    with FacesFolder.locked(faces):
        earlier = faces / FacesFolder.SETTLED
        kept = read_pairs(earlier) if earlier.exists() else []
        settled = merge_pairs(kept, read_pairs(pairs) if pairs else [], settled)
        clips = {clip.key(model): clip for clip in choose_candidates(manifest)}
        keys = ["part", "video", "family", "label", "identity"]  # one row per clip
        rows = manifest.select(keys).group_by(keys).aggregate([])
        rows = rows.sort_by([(key, "ascending") for key in keys])
        rules = [*settled, *named_pairs(rows)]
        # Report pairs that cannot be used before the hours of encoding.
        assign_identities(rows, collect_encodings(faces, ()), rules, threshold)
        pictures = read_pictures(manifest, lambda path: path_inside(root, path))
        unconfined = why_unconfined()
        failed = _encode(faces, clips, workers, unconfined is None)
        encodings = collect_encodings(faces, clips.items())
        store_encodings(faces, encodings)
        alike = compare_pictures(manifest, pictures)
        found = assign_identities(rows, encodings, rules, threshold, alike)
        write_table(bound(add_names(found.table, rows), made_from), faces / FacesFolder.IDENTITIES)
        found.write_pairs(faces / FacesFolder.PAIRS)
        write_identities_page(faces, found, encodings, threshold)
        if settled:
            write_pairs(settled, earlier)
    real = sum(clip.label == REAL for clip in clips.values())
    compared = len(pictures.rows), manifest.num_rows
    return IdentifyReport(
        *(faces, real, len(clips) - real, *compared, encodings.num_rows, failed, found, unconfined),
        unlabelled_lines(faces / FacesFolder.MANIFEST, manifest),
    )


def forget(faces: Path) -> ForgetReport:
    """Remove the encodings and pictures of a faces folder.

    identities.parquet and identity_settled.csv stay: they name clips and hold no face.

    Raises:
        OutputError: there is no such folder, or another run is writing it.
    """
    if not faces.is_dir():
        raise OutputError(f"expected a faces folder at {faces}, found none; give its path")
    with FacesFolder.locked(faces):
        found = sorted(path.name for path in faces.iterdir())
        removed = tuple(name for name in found if name in FacesFolder.BIOMETRIC)
        # Also what a killed run left half-written.
        half = [n for n in found if any(is_temporary(n, whole) for whole in FacesFolder.BIOMETRIC)]
        for name in (*removed, *half):
            (faces / name).unlink()
    return ForgetReport(faces, removed)


def _encode(
    faces: Path, clips: dict[str, ClipCandidates], workers: int | None, confined: bool
) -> tuple[str, ...]:
    """Encode the clips that are not known; return those that failed, part/video."""
    known = known_keys(faces)
    keys = {clip: key for key, clip in clips.items() if key not in known}
    if not keys:
        return ()
    failed = []
    count = min(workers or available_cores(), len(keys))
    setup = os.path.realpath(faces), confined
    with (
        Journal(faces / FacesFolder.ENCODINGS_JOURNAL) as journal,
        Progress(len(clips), "clips", "identify", len(clips) - len(keys)) as bar,
        ExitStack() as stack,
    ):
        pool = LocalWorkers(count, _TIMEOUT, init_worker, setup)
        stack.callback(pool.stop)
        for clip, found in run_tasks(pool, encode_clip, keys):
            if found is None:
                failed.append(f"{clip.part}/{clip.video}")
            else:
                journal.append({"key": keys[clip], "faces": found})
            bar.set_postfix(failed=len(failed), refresh=False)
            bar.update()
    return tuple(sorted(failed))

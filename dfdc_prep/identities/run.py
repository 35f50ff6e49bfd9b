"""Runs `identify`: encodes the clips of a faces folder, compares their pictures, groups them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from dfdc_prep import output_folder
from dfdc_prep.crops.files import path_inside
from dfdc_prep.errors import OutputError
from dfdc_prep.identities.candidates import ClipCandidates, choose_candidates
from dfdc_prep.identities.encoder import model_files
from dfdc_prep.identities.encodings import (
    JOURNAL,
    TABLE,
    JournalEntry,
    collect_encodings,
    known_keys,
    store_encodings,
)
from dfdc_prep.identities.page import PAGE, write_identities_page
from dfdc_prep.identities.worker import EncodedFace, encode_clip, init_worker
from dfdc_prep.parallel.processes import LocalWorkers, TaskRun
from dfdc_prep.parallel.threads import available_cores
from dfdc_prep.writing.pictures import read_pictures
from manifests.files import Journal, file_sha256
from manifests.folders import check_faces_folder
from manifests.identities.links import compare_pictures
from manifests.identities.pairs import (
    PAIRS,
    SettledPair,
    merge_pairs,
    named_pairs,
    read_pairs,
    write_pairs,
)
from manifests.identities.people import THRESHOLD, Identities, assign_identities
from manifests.identities.table import FILE, add_names
from manifests.labels import REAL
from manifests.locks import is_temporary
from manifests.result import Result, TextTable
from manifests.tables.derived import MANIFEST, bound, manifest_hash
from manifests.tables.parquet import read_manifest, write_table
from manifests.wording import counted

#: Pairs that were settled, kept for the next call.
SETTLED = "identity_settled.csv"
#: What `--forget` removes: all that shows or encodes a face.
BIOMETRIC = (TABLE, JOURNAL, PAGE, PAIRS)
#: What it leaves: names of clips and decisions about them.
KEPT = (FILE, SETTLED)
#: Seconds a clip may take.
_TIMEOUT = 120.0


@dataclass(frozen=True)
class IdentifyOptions:
    """Options of `identify`.

    Attributes:
        threshold: largest average distance at which two groups are joined.
        settled: pairs that a person decided, beside those kept in the folder.
        pairs: a CSV of further pairs.
        workers: number of processes; None for one per core.
    """

    threshold: float = THRESHOLD
    settled: tuple[SettledPair, ...] = ()
    pairs: Path | None = None
    workers: int | None = None


@dataclass(frozen=True)
class IdentifyReport(Result):
    """What `identify` found.

    Attributes:
        out: the faces folder.
        clips: REAL clips with a crop.
        fakes: fake clips that stand for a family without a REAL crop.
        compared, crops: crops whose pictures were compared, and all crops.
        encoded: crops encoded, of all runs.
        unencoded: clips whose worker died or timed out, part/video.
        identities: the identities.
    """

    out: Path
    clips: int
    fakes: int
    compared: int
    crops: int
    encoded: int
    unencoded: tuple[str, ...]
    identities: Identities

    def text(self) -> str:
        """The report for the terminal."""
        found = self.identities
        families, people = len(found.families), found.people
        fakes = f" and {counted(self.fakes, 'fake')} of families without one" if self.fakes else ""
        lines = [
            f"{counted(self.clips, 'REAL clip')}{fakes}, {counted(self.encoded, 'face')} encoded",
            f"{self.compared:,} of {self.crops:,} pictures compared; families with one that is "
            f"near-identical to another family's: {found.alike:,}",
            f"{counted(families, 'family')}: {len(found.identified - found.faked):,} with a face "
            f"of their original, {len(found.faked):,} only with that of a fake",
        ]
        if people:
            lines.append(
                f"people estimated: {len(people):,}, each in at most "
                f"{counted(people[0][1], 'family')}"
            )
        joined = sum(pair.joined for pair in found.pairs)
        lines.append(
            f"{counted(len(found.doubts), 'family')} uncertain; to look at, those that change a "
            f"split most: {counted(len(found.pairs) - joined, 'pair')} kept apart, "
            f"{joined:,} joined"
        )
        lines += [f"not encoded, its worker failed: {name}" for name in self.unencoded[:5]]
        if len(self.unencoded) > 5:
            lines.append(f"and {len(self.unencoded) - 5:,} more")
        lines.append(f"written to {self.table}; look at {self.out / PAGE}")
        return "\n".join(lines)

    @property
    def table(self) -> Path:
        """The identities, one row per clip."""
        return self.out / FILE

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
        """The report for the terminal."""
        removed = ", ".join(self.removed) or "nothing, there was none"
        return (
            f"removed from {self.out}: {removed}\n"
            "kept: the crops, identities.parquet and identity_settled.csv, if any"
        )

    def cells(self) -> TextTable:
        return TextTable(("removed",), ([name] for name in self.removed))


def identify(faces: Path, options: IdentifyOptions) -> IdentifyReport:
    """Estimate who is filmed in every clip of a faces folder; continue an earlier run.

    Writes identities.parquet, identity_encodings.parquet, identity_pairs.csv, identities.html
    and, if pairs are given, identity_settled.csv.

    Raises:
        TableError: the manifest or a pair cannot be used, or pairs contradict each other.
        ShardError: a crop is missing, altered or outside the folder.
        ModelError: dlib or its models are missing.
        OutputError: the folder cannot be written, or another run is writing it.
        WorkersError: worker processes cannot be started.
    """
    check_faces_folder(faces)
    made_from = manifest_hash(faces)
    manifest = read_manifest(faces / MANIFEST, "dfdc-prep extract")
    model = _model_hashes()
    with output_folder.locked(faces):
        settled = _settled_pairs(faces, options)
        clips = {clip.key(model): clip for clip in choose_candidates(manifest)}
        rows = _clip_rows(manifest)
        rules = [*settled, *named_pairs(rows)]
        # Report pairs that cannot be used before the hours of encoding.
        assign_identities(rows, collect_encodings(faces, ()), rules, options.threshold)
        root = os.path.realpath(faces)
        pictures = read_pictures(manifest, lambda path: path_inside(root, path))
        failed = _encode(faces, clips, options.workers)
        encodings = collect_encodings(faces, clips.items())
        store_encodings(faces, encodings)
        alike = compare_pictures(manifest, pictures)
        found = assign_identities(rows, encodings, rules, options.threshold, alike)
        write_table(bound(add_names(found.table, rows), made_from), faces / FILE)
        found.write_pairs(faces / PAIRS)
        write_identities_page(faces, found, encodings, options.threshold)
        if settled:
            write_pairs(settled, faces / SETTLED)
    real = sum(clip.label == REAL for clip in clips.values())
    compared = len(pictures.rows), manifest.num_rows
    return IdentifyReport(
        faces, real, len(clips) - real, *compared, encodings.num_rows, failed, found
    )


def forget(faces: Path) -> ForgetReport:
    """Remove the encodings and pictures of a faces folder.

    identities.parquet and identity_settled.csv stay: they name clips and hold no face.

    Raises:
        OutputError: there is no such folder, or another run is writing it.
    """
    if not faces.is_dir():
        raise OutputError(f"expected a faces folder at {faces}, found none; give its path")
    with output_folder.locked(faces):
        # Also what a killed run left half-written.
        names = {
            path.name
            for path in faces.iterdir()
            if path.name in BIOMETRIC or any(is_temporary(path.name, n) for n in BIOMETRIC)
        }
        for name in sorted(names):
            (faces / name).unlink()
    return ForgetReport(faces, tuple(sorted(name for name in names if name in BIOMETRIC)))


def _model_hashes() -> str:
    """The hashes of the encoder's files, which the keys of the encodings depend on."""
    return " ".join(file_sha256(path) for path in model_files())


def _settled_pairs(faces: Path, options: IdentifyOptions) -> list[SettledPair]:
    kept = read_pairs(faces / SETTLED) if (faces / SETTLED).exists() else []
    given = read_pairs(options.pairs) if options.pairs else []
    return merge_pairs(kept, given, options.settled)


def _clip_rows(manifest: pa.Table) -> pa.Table:
    """One row per clip, sorted by (part, video)."""
    keys = ["part", "video", "family", "label", "identity"]
    rows = manifest.select(keys).group_by(keys).aggregate([])
    return rows.sort_by([(key, "ascending") for key in keys])


def _encode(faces: Path, clips: dict[str, ClipCandidates], workers: int | None) -> tuple[str, ...]:
    """Encode the clips that are not known; return those that failed, part/video."""
    known = known_keys(faces)
    todo = {key: clip for key, clip in clips.items() if key not in known}
    if not todo:
        return ()
    failed = []
    with (
        Journal(faces / JOURNAL) as journal,
        tqdm(total=len(clips), initial=len(clips) - len(todo), unit="clip", disable=None) as bar,
    ):
        keys = {(clip.part, clip.video): key for key, clip in todo.items()}
        count = min(workers or available_cores(), len(todo))
        for clip, found in _encoded(faces, todo.values(), count):
            if found is None:
                failed.append(f"{clip.part}/{clip.video}")
            else:
                key = keys[clip.part, clip.video]
                journal.append(JournalEntry(key=key, faces=found))
            bar.update()
            bar.set_postfix(failed=len(failed), refresh=False)
    return tuple(sorted(failed))


def _encoded(
    faces: Path, clips: Iterable[ClipCandidates], workers: int
) -> Iterable[tuple[ClipCandidates, list[EncodedFace] | None]]:
    pool = LocalWorkers(workers, _TIMEOUT, init_worker, (os.path.realpath(faces),))
    try:
        yield from TaskRun[ClipCandidates, list[EncodedFace]](pool, encode_clip).results(clips)
    finally:
        pool.stop()

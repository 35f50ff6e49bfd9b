"""Any set of requested frames is decoded and equals that of a sequential decode."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dfdc_prep.extraction.run import RunOptions, extract, prepare
from dfdc_prep.video.picture import Image
from dfdc_prep.video.reader import open_clip
from dfdc_prep.video.timeline import SAMPLINGS, Packet, build_timeline
from manifests.arrow import CLIP_LOG_SCHEMA
from manifests.tables.parquet import read_table
from tests.conftest import SHARED
from tests.crop_sets import crop_options
from tests.encoded import Recipe, decode_sequentially, encode, x264, x265

#: Milliseconds.
UNEVEN = [i * 40 + i * i % 31 for i in range(60)]
RECIPES = {
    "no B-frames": x264("bframes=0"),
    "2 B-frames": x264("bframes=2:b-adapt=0"),
    "16 B-frames": x264("bframes=16:b-adapt=0"),
    "no pyramid": x264("bframes=5:b-adapt=0:b-pyramid=none"),
    "strict pyramid": x264("bframes=5:b-adapt=0:b-pyramid=strict"),
    "normal pyramid": x264("bframes=5:b-adapt=0:b-pyramid=normal"),
    "open GOP": x264("open-gop=1:keyint=12:bframes=3:b-adapt=0"),
    "keyframes only": x264("keyint=1"),
    "a keyframe in 12": x264("keyint=12:bframes=3"),
    "a keyframe in 250": x264("keyint=250:scenecut=0"),
    "weighted prediction": x264("weightp=2:weightb=1:bframes=3"),
    "intra refresh": x264("intra-refresh=1:keyint=12:bframes=2"),
    "variable frame rate": x264("bframes=3:keyint=20", times=UNEVEN),
    "edit list": x264("bframes=3:keyint=25:b-adapt=0", hide=10),
    "edit list in an open GOP": x264("open-gop=1:keyint=12:bframes=3:b-adapt=0", hide=26),
    "first keyframe later": x264("keyint=12:bframes=3:b-adapt=0:scenecut=0", drop=5),
    "first keyframe later, open GOP": x264("open-gop=1:keyint=12:bframes=3:b-adapt=0", drop=5),
    "four frames": x264("bframes=3:b-adapt=0", frames=4),
    "one frame": x264("bframes=3", frames=1),
    "H.264 in Matroska": x264("keyint=12:bframes=3", suffix="mkv"),
    "H.264 in a transport stream": x264("keyint=12:bframes=3", suffix="ts"),
    "H.264 in AVI": x264("keyint=12:bframes=0", suffix="avi"),
    "HEVC": x265("keyint=12:bframes=3:no-open-gop=1"),
    "HEVC, open GOP": x265("open-gop=1:keyint=12:bframes=4:b-adapt=0"),
    "HEVC, first keyframe later": x265("open-gop=1:keyint=12:bframes=4:b-adapt=0", drop=13),
    "VP9": Recipe("libvpx-vp9", {"g": "20", "deadline": "realtime", "cpu-used": "5"}, "webm"),
    "VP8, hidden frames": Recipe(
        "libvpx", {"g": "20", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5"}, "webm"
    ),
    "AV1": Recipe("libsvtav1", {"g": "20", "preset": "10"}),
    "MPEG-4 in AVI": Recipe("mpeg4", {"g": "12", "bf": "2"}, "avi"),
    "MPEG-4 in MP4": Recipe("mpeg4", {"g": "12", "bf": "2"}),
    "MPEG-2 in a program stream": Recipe("mpeg2video", {"g": "12", "bf": "2"}, "mpg"),
    "MJPEG": Recipe("mjpeg", suffix="mov", pixels="yuvj420p"),
}  # fmt: skip
#: Only names, because CI fails rather than skips if the folder is missing.
REAL = sorted(str(p.relative_to(SHARED)) for p in SHARED.glob("data/dfdc/*/*.mp4"))
EDGE = sorted(
    str(p.relative_to(SHARED)) for p in SHARED.glob("data/edge/*") if p.name != "corrupted.mp4"
)
DENSE: dict[str, Callable[[int], Iterable[int]]] = {
    "all": range,
    "first 32": lambda count: range(min(32, count)),
    "last 32": lambda count: range(max(0, count - 32), count),
    "every second": lambda count: range(0, count, 2),
}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("encoded")
    return cache(lambda name: encode(folder / f"{list(RECIPES).index(name)}", RECIPES[name]))


@pytest.fixture(scope="module")
def truth() -> Callable[[Path], list[Image]]:
    return cache(decode_sequentially)


def differences(path: Path, wanted: Iterable[int], truth: list[Image]) -> list[int]:
    """The wanted positions for which no frame, or a wrong one, was decoded; not stretched."""
    with open_clip(path) as video:
        assert video.timeline.count == len(truth)
        left = set(wanted)
        for frame in video.frames(sorted(left)):
            stored = replace(frame, pixel_aspect=1)
            if np.array_equal(stored.rgb(), truth[frame.index]):
                left.remove(frame.index)
    return sorted(left)


@pytest.mark.parametrize("name", RECIPES)
def test_dense_frames_of_any_encoding(encoded, truth, name: str) -> None:  # type: ignore[no-untyped-def]
    path = encoded(name)
    true = truth(path)
    assert true, "the encoder produced no frame"
    assert {k: differences(path, of(len(true)), true) for k, of in DENSE.items()} == {
        k: [] for k in DENSE
    }


@pytest.mark.parametrize("name", RECIPES)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(draw=st.data())
def test_any_frames_of_any_encoding(encoded, truth, name: str, draw: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    path = encoded(name)
    true = truth(path)
    wanted = draw.draw(st.sets(st.integers(0, len(true) - 1), min_size=1, max_size=12))
    assert differences(path, wanted, true) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", EDGE + REAL)
def test_all_frames_of_real_clips(shared: Path, name: str) -> None:
    path = shared / name
    true = decode_sequentially(path)
    draw = np.random.default_rng(len(true))
    few = [draw.choice(len(true), size=min(5, len(true)), replace=False).tolist() for _ in range(3)]
    for wanted in (range(len(true)), DENSE["last 32"](len(true)), *few):
        assert differences(path, wanted, true) == []


def test_a_damaged_clip_yields_the_frames_sent_before_the_damage(shared: Path) -> None:
    path = shared / "data" / "edge" / "corrupted.mp4"
    true = decode_sequentially(path)
    with open_clip(path) as video:
        for wanted in (range(50), range(0, 50, 5), [29], [45]):
            found = {frame.index: frame.rgb() for frame in video.frames(wanted)}
            assert {i for i in wanted if i < len(true)} <= found.keys() <= {*range(28), 28, 32}
            assert all(np.array_equal(found[i], true[i]) for i in found if i < len(true))


@pytest.mark.slow
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_no_intact_clip_is_reported_as_truncated(
    encoded, tmp_path: Path, yunet_model: Path, sampling: str
) -> None:
    part = tmp_path / "dfdc" / "part"
    part.mkdir(parents=True)
    names = []
    for number, name in enumerate(RECIPES):
        path = encoded(name)
        names.append(f"{number}{path.suffix}")
        (part / names[-1]).symlink_to(path)
    (part / "metadata.json").write_text(json.dumps({name: {"label": "REAL"} for name in names}))
    for frames in (32, 10_000):
        out = tmp_path / f"{frames}"
        options = crop_options(frames=frames, sampling=sampling)
        extract(prepare(tmp_path / "dfdc", out, options, RunOptions(2), "yunet", yunet_model))
        log = read_table(out / "clips.parquet", CLIP_LOG_SCHEMA, "").to_pandas().set_index("video")
        assert set(log["status"]) == {"no_face"}
        counts = {
            f"{n}{encoded(k).suffix}": len(decode_sequentially(encoded(k)))
            for n, k in enumerate(RECIPES)
        }
        assert dict(log["frames_decoded"]) == {k: min(frames, v) for k, v in counts.items()}


def test_packets_are_sent_until_the_last_sent_wanted_frame() -> None:
    """Decoding order 0 3 1 2 5 4, keyframe 3: frame 2 follows a keyframe displayed later."""
    order = [0, 3, 1, 2, 5, 4]
    clip = build_timeline([Packet(pts, pts in (0, 3)) for pts in order], seekable=True)
    assert clip is not None
    found = [(s.start, s.end, s.frames) for s in clip.decode_ranges([0, 2, 3, 4])]
    assert found == [(0, 3, (0, 2)), (1, 5, (3, 4))]


@example([0, 3, 2, 1, *range(4, 12)], {1, 3}, {2})  # a keyframe sent after a later displayed one
@given(st.permutations(range(12)), st.sets(st.integers(1, 11)), st.sets(st.integers(0, 11)))
def test_a_decode_range_contains_every_packet_it_needs(
    shown: list[int], keys: set[int], wanted: set[int]
) -> None:
    first = shown.index(0)
    shown = [0, *shown[:first], *shown[first + 1 :]]
    packets = [Packet(pts, n == 0 or n in keys) for n, pts in enumerate(shown)]
    clip = build_timeline(packets, seekable=True)
    assert clip is not None
    ranges = list(clip.decode_ranges(sorted(wanted)))
    assert [i for s in ranges for i in s.frames] == sorted(wanted)
    for decode_range in ranges:
        assert packets[decode_range.start].random_access
        for frame in decode_range.frames:
            assert decode_range.start <= shown.index(frame) <= decode_range.end
            assert shown[decode_range.start] <= frame


@pytest.mark.parametrize(
    "packets",
    [
        [Packet(None, True), Packet(1)],
        [Packet(0, True), Packet(0)],
        [Packet(0, False), Packet(1, True)],
        [Packet(1, True), Packet(0)],
    ],
    ids=["no times", "times twice", "no keyframe at first", "a frame shown before the first"],
)
def test_clips_without_a_timeline(packets: list[Packet]) -> None:
    assert build_timeline(packets, seekable=True) is None

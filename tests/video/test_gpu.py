"""Decoding on a GPU gives the frames of the CPU; without one, clips are decoded on the CPU."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli import main
from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.detectors import choose_detector, make_detector
from dfdc_prep.errors import DecoderError
from dfdc_prep.extraction.clip import ClipResult, CropOptions, extract_clip
from dfdc_prep.video.decoders import AUTO, CPU, GPU, choose_decoder
from dfdc_prep.video.gpu import planar
from dfdc_prep.video.gpu_check import compare_decoders, find_problem, plane_values, write_test_clip
from dfdc_prep.video.reader import open_clip
from manifests.schema import CLIP_LOG_SCHEMA
from manifests.tables.parquet import read_table
from tests.conftest import SHARED

with_gpu = pytest.mark.skipif(find_problem() is not None, reason="needs a GPU that decodes video")
without_gpu = pytest.mark.skipif(find_problem() is None, reason="tests what happens without a GPU")
#: H.264 for the GPU; formats that it leaves to the CPU.
EDGE = (
    "video_90.mov",
    "video_180.mov",
    "mmaction2_demo.mp4",
    "facenet_pytorch_video.mp4",
    "torchcodec_h264_10bits.mp4",
    "torchcodec_av1_video.mkv",
    "mmaction2_test.avi",
)


@given(
    st.integers(1, 300),
    st.integers(1, 200),
    st.sampled_from([("yuv420p", 1), ("yuvj420p", 2)]),
    st.integers(0, 2**32),
)
def test_taking_chroma_planes_apart_changes_no_value(
    width: int, height: int, kind: tuple[str, int], seed: int
) -> None:
    noise = np.random.default_rng(seed)
    name, color_range = kind
    frame = av.VideoFrame(width, height, name)
    for plane in frame.planes:
        plane.update(noise.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    frame.color_range, frame.pts = color_range, 7
    found = planar(frame.reformat(format="nv12"))
    assert (found.format.name, found.color_range, found.pts) == (name, color_range, 7)
    assert plane_values(found) == plane_values(frame)


def test_the_clip_of_the_check_has_frames_to_skip(tmp_path: Path) -> None:
    write_test_clip(tmp_path / "clip.mp4")
    with open_clip(tmp_path / "clip.mp4") as clip:
        kinds = {PictureType(frame.decoded.pict_type).name for frame in clip.frames(range(48))}
        assert kinds == {"I", "P", "B"}
        assert clip.timeline.count == 48
        assert 0 < len(clip.timeline.references) < 48
        assert clip.timeline.keyframes == (0, 24)


@without_gpu
def test_without_a_gpu_auto_is_the_cpu() -> None:
    chosen, why = choose_decoder(AUTO, find_problem)
    assert chosen == CPU
    assert why is not None
    assert why.startswith("decoder cpu, since the GPU cannot be used: no ")
    assert choose_decoder(CPU, find_problem) == (CPU, None)


@without_gpu
def test_without_a_gpu_asking_for_one_is_an_error(tmp_path: Path, real_clips: Path) -> None:
    with pytest.raises(DecoderError, match="--decoder auto or cpu"):
        choose_decoder(GPU, find_problem)
    words = ["extract", str(real_clips), str(tmp_path / "out"), "--decoder", "gpu"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert "expected a GPU that decodes video, found no " in done.stderr
    assert not (tmp_path / "out").exists()


@without_gpu
def test_without_a_gpu_auto_extracts_and_says_so(tmp_path: Path, real_clips: Path) -> None:
    words = ["extract", str(real_clips), str(tmp_path / "out"), "--decoder", "auto", "--limit", "2"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    assert "decoder cpu, since the GPU cannot be used" in done.output
    log = read_table(tmp_path / "out" / "clips.parquet", CLIP_LOG_SCHEMA, "")
    assert set(log["decoder"].to_pylist()) == {CPU}


@without_gpu
def test_the_check_describes_a_gpu_that_fails(tmp_path: Path) -> None:
    write_test_clip(tmp_path / "clip.mp4")
    assert (compare_decoders(tmp_path / "clip.mp4") or "").startswith("a decoding error")


def extracted(source: Path, out: Path, decoder: str, model: Path) -> list[ClipResult]:
    detector = make_detector(choose_detector("yunet", model))
    clips = [clip for clip in read_catalog(source).clips if clip.size]
    options = CropOptions(frames=4)
    (out / "crops").mkdir(parents=True)
    return [extract_clip(clip, out, options, detector, decoder=decoder) for clip in clips]


def test_a_clip_that_the_gpu_does_not_decode_is_decoded_on_the_cpu(
    tmp_path: Path, real_clips: Path, yunet_model: Path
) -> None:
    """Without a GPU, each clip falls back; with one, none of them must."""
    on_cpu = extracted(real_clips, tmp_path / "cpu", CPU, yunet_model)
    on_gpu = extracted(real_clips, tmp_path / "gpu", GPU, yunet_model)
    assert [result.rows for result in on_gpu] == [result.rows for result in on_cpu]
    expected = CPU if find_problem() else GPU
    assert {result.decoder for result in on_gpu} == {expected}


@with_gpu
@pytest.mark.parametrize("name", EDGE)
def test_all_frames_of_a_clip_are_those_of_the_cpu(name: str) -> None:
    path = SHARED / "data" / "edge" / name
    with open_clip(path) as clip:
        expected = {frame.index: frame.rgb() for frame in clip.frames(range(clip.timeline.count))}
    with open_clip(path, decoder=GPU) as clip:
        found = {frame.index: frame.rgb() for frame in clip.frames(range(clip.timeline.count))}
    assert found.keys() == expected.keys()
    for index, image in expected.items():
        assert np.array_equal(found[index], image), index

"""Makes clips whose forgeries are known: two people of whom one is swapped; re-encoded copies;
and a family with a mask video."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from dfdc_prep.sample.builder import FamilyPlan, plan_families, write_clip
from dfdc_prep.sample.face_swap import Swap, portraits, swap_face, swapped_region
from dfdc_prep.sample.scenes import Scene
from dfdc_prep.video.picture import Image

#: Width of each person's half of a frame, pixels, and height of both.
HALF = (640, 720)


def make_family(part: Path, original: str, fakes: list[str]) -> None:
    """Add a family to the metadata.json of a part."""
    file = part / "metadata.json"
    entries = json.loads(file.read_text()) if file.exists() else {}
    entries[original] = {"label": "REAL", "split": "train"}
    entries |= {fake: {"label": "FAKE", "split": "train", "original": original} for fake in fakes}
    file.write_text(json.dumps(entries))


def make_two_people(part: Path, seed: int, frames: int = 8) -> tuple[str, dict[str, int]]:
    """Write a clip of two people, and one fake for each of them, in which only they are swapped.

    Returns:
        The original's file name; for each fake, who is swapped: 0 on the left, 1 on the right.
    """
    rng = np.random.default_rng(seed)
    scenes = [Scene.random(rng, *HALF) for _ in range(2)]
    scenes = [
        replace(scene, fps=25, frames=frames, scale=min(scene.scale, 1.2)) for scene in scenes
    ]
    whole = replace(scenes[0], width=2 * HALF[0])
    swap = Swap.random(rng)
    part.mkdir(parents=True, exist_ok=True)
    names = {f"two{seed}_{who}.mp4": who for who in (0, 1)}
    for name, swapped in {f"two{seed}.mp4": None, **names}.items():
        halves = [
            scene.render(
                portraits()[who],
                swap_face(portraits()[who], portraits()[1 - who], swap)
                if who == swapped
                else portraits()[who].image,
            )
            for who, scene in enumerate(scenes)
        ]
        write_clip(part / name, whole, map(_side_by_side, *halves))
    make_family(part, f"two{seed}.mp4", list(names))
    return f"two{seed}.mp4", names


def make_masked_family(root: Path, frames: int = 24) -> FamilyPlan:
    """Write a family of the sample as FaceForensics++: 000.mp4, its fake 000_001.mp4, and the
    fake's mask video, white where half or more of the fake's picture is swapped.

    Returns:
        Its plan.
    """
    plan = plan_families(2, 42)[1]
    plan = replace(plan, scene=replace(plan.scene, frames=frames))
    made = "manipulated_sequences/Deepfakes"
    clips = {
        "original_sequences/youtube/c23/videos/000.mp4": plan.render(None),
        f"{made}/c23/videos/000_001.mp4": plan.render(plan.fakes[0][1]),
        f"{made}/masks/videos/000_001.mp4": (_as_video(swapped(plan, n)) for n in range(frames)),
    }
    for name, pictures in clips.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_clip(root / name, plan.scene, pictures)
    return plan


def swapped(plan: FamilyPlan, frame: int, to_crop: Image | None = None) -> NDArray[np.bool_]:
    """Where a frame of a family's first fake, or a crop of it, is swapped by half or more.

    Args:
        to_crop: the affine map from the frame to the crop, float [2, 3].
    """
    assert plan.person is not None
    body, scene = portraits()[plan.person], plan.scene
    matrix, size = scene.transform(body, frame), (scene.width, scene.height)
    if to_crop is not None:
        matrix, size = to_crop @ np.vstack([matrix, [0, 0, 1]]), (224, 224)
    weight = cv2.warpAffine(plan.fakes[0][1].strength * swapped_region(body), matrix, size)
    return np.asarray(weight >= 0.5)


def _as_video(mask: NDArray[np.bool_]) -> Image:
    """A mask as a frame in I420, white and black in limited range."""
    luma = np.where(mask, 235, 16)
    grey = np.full((mask.shape[0] // 2, mask.shape[1]), 128)
    return np.vstack([luma, grey]).astype(np.uint8)


def _side_by_side(left: Image, right: Image) -> Image:
    """Two I420 frames as one."""
    width, height = HALF
    planes = [np.hstack([left[:height], right[:height]])]
    for at in range(2):
        start = height + at * height // 4
        chroma = (half[start : start + height // 4] for half in (left, right))
        pair = np.hstack([half.reshape(height // 2, width // 2) for half in chroma])
        planes.append(pair.reshape(height // 4, 2 * width))
    return np.vstack(planes)


def reencode(source: Path, part: Path, crf: int, frames: int) -> str:
    """Write the first frames of a clip as an original, and re-encoded as its fake.

    Returns:
        The fake's file name.
    """
    part.mkdir(parents=True, exist_ok=True)
    original, fake = part / f"{source.stem}.mp4", part / f"{source.stem}_crf{crf}.mp4"
    with av.open(str(source)) as clip:
        stream = clip.streams.video[0]
        with av.open(str(original), "w") as copy:
            out = copy.add_stream_from_template(stream)
            for packet in islice(clip.demux(stream), frames):
                if packet.dts is not None:
                    packet.stream = out
                    copy.mux(packet)
    _encode(original, fake, crf)
    make_family(part, original.name, [fake.name])
    return fake.name


def _encode(source: Path, target: Path, crf: int) -> None:
    with av.open(str(source)) as clip, av.open(str(target), "w") as out:
        shown = clip.streams.video[0]
        stream = out.add_stream("libx264", rate=shown.average_rate)
        stream.width, stream.height, stream.pix_fmt = shown.width, shown.height, "yuv420p"
        stream.options = {"preset": "fast", "crf": str(crf), "threads": "1"}
        for frame in _decoded(clip):
            plain = av.VideoFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name)
            plain.colorspace, plain.color_range = frame.colorspace, frame.color_range
            out.mux(stream.encode(plain))
        out.mux(stream.encode())


def _decoded(clip: "av.container.InputContainer") -> Iterator[av.VideoFrame]:
    """The frames that decode; the last of a cut clip may not."""
    try:
        yield from clip.decode(video=0)
    except av.FFmpegError:
        return

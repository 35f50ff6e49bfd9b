"""Drawn film: a cut-out person moves before an out-of-focus room, or a camera pans over hills.

Frames leave as I420 (planar YUV 4:2:0, BT.601), uint8 [height * 3 / 2, width]: the format H.264
stores, and the one in which camera noise is cheapest to add.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from dfdc_prep.sample.face_swap import Portrait
from dfdc_prep.video.picture import Image

Floats: TypeAlias = npt.NDArray[np.float32]

#: Colours of the landscape, RGB.
_ZENITH, _HORIZON, _FAR, _NEAR = (
    np.array(colour, np.float32)
    for colour in ((120, 165, 225), (235, 225, 205), (130, 150, 175), (55, 80, 35))
)
#: How far the camera strays, pixels; backgrounds and noise are drawn this much larger.
_SLACK = 48


@dataclass(frozen=True)
class Sway:
    """A smooth path over time: two slow waves for each of x, y, angle and size, from -1 to 1."""

    rates: npt.NDArray[np.float64]
    phases: npt.NDArray[np.float64]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Sway":
        return cls(rng.uniform(0.15, 0.7, (2, 4)), rng.uniform(0, 2 * np.pi, (2, 4)))

    def at(self, seconds: float) -> npt.NDArray[np.float64]:
        """x, y, angle and size at a time, each from -1 to 1."""
        waves = np.sin(2 * np.pi * self.rates * seconds + self.phases)
        return np.asarray(waves.mean(axis=0), np.float64)


@dataclass(frozen=True)
class Light:
    """Exposure, colour temperature and a lamp to one side."""

    gamma: float
    warmth: float
    """0.1 makes red a tenth brighter and blue a tenth darker."""
    falloff: float
    """Brightness lost from the lit side to the other, 0 to 1."""
    angle: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Light":
        return cls(
            gamma=rng.uniform(0.75, 1.4),
            warmth=rng.uniform(-0.12, 0.12),
            falloff=rng.uniform(0.1, 0.5),
            angle=rng.uniform(0, 2 * np.pi),
        )

    def on(self, image: Image) -> Image:
        """The picture in this light; RGB uint8 of the same shape."""
        height, width = image.shape[:2]
        across = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(np.cos(self.angle))
        down = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(np.sin(self.angle))
        shade = 1 - self.falloff * (0.5 + 0.35 * (across[None, :] + down[:, None]))
        levels = np.linspace(0, 1, 256) ** self.gamma * 255
        tint = np.array([1 + self.warmth, 1, 1 - self.warmth], np.float32)
        lit = levels.astype(np.float32)[image] * (shade[..., None] * tint)
        return lit.round().clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Scene:
    """Everything about one original but the face: its fakes are filmed in the same scene."""

    width: int
    height: int
    fps: int
    frames: int
    scale: float
    mirrored: bool
    tilt: float
    """Degrees the head leans."""
    centre: tuple[float, float]
    """Where the point between the eyes stays on average, in widths and heights."""
    sway: Sway
    light: Light
    noise: float
    """Standard deviation of the camera noise, levels of luminance."""
    seed: int

    @classmethod
    def drawn(cls, rng: np.random.Generator, width: int, height: int) -> "Scene":
        """A scene by chance: two to three seconds at 25 or 30 frames a second."""
        fps = int(rng.choice([25, 30]))
        return cls(
            width=width,
            height=height,
            fps=fps,
            frames=round(fps * rng.uniform(2, 3)),
            scale=rng.uniform(1, 1.45),
            mirrored=bool(rng.integers(2)),
            tilt=rng.uniform(-5, 5),
            centre=(rng.uniform(0.35, 0.65), rng.uniform(0.38, 0.46)),
            sway=Sway.drawn(rng),
            light=Light.drawn(rng),
            noise=rng.uniform(1, 4),
            seed=int(rng.integers(2**32)),
        )

    def placed(self, person: Portrait, frame: int) -> npt.NDArray[np.float64]:
        """The affine map, float64 [2, 3], from the portrait's pixels to those of a frame."""
        x, y, turn, size = self.sway.at(frame / self.fps)
        scale = self.scale * (1 + 0.04 * size)
        # The photograph ends at the chest; its edge must stay below the frame.
        below = (person.image.shape[0] - person.eyes[1]) * self.scale
        across = self.centre[0] * self.width + 0.07 * self.width * x
        down = max(self.centre[1] * self.height, self.height + 45 - below) + 0.04 * self.height * y
        angle = np.deg2rad(self.tilt + 3 * turn)
        rotation = scale * np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
        if self.mirrored:
            rotation[:, 0] *= -1
        return np.column_stack([rotation, np.array([across, down]) - rotation @ person.eyes])

    def film(self, person: Portrait, photograph: Image) -> Iterator[Image]:
        """The scene's frames with a photograph of the person, her own or one with a swapped face.

        Args:
            photograph: uint8 [height, width, 3], RGB, of the size of `person.image`.

        Yields:
            I420, uint8 [height * 3 / 2, width].
        """
        rng = np.random.default_rng(self.seed)
        room = self.light.on(_room(rng, self.width + _SLACK, self.height + _SLACK))
        grain = _Grain(rng, self.width, self.height, self.noise)
        cover = person.alpha[..., None] / np.float32(255)
        cut_out = np.dstack([(self.light.on(photograph) * cover).astype(np.uint8), person.alpha])
        for frame in range(self.frames):
            drawn = cv2.warpAffine(cut_out, self.placed(person, frame), (self.width, self.height))
            behind = cv2.cvtColor(cv2.bitwise_not(drawn[..., 3]), cv2.COLOR_GRAY2RGB)
            seen = _window(room, self.sway.at(frame / self.fps), self.width, self.height)
            picture = cv2.add(
                cv2.multiply(seen, behind, scale=1 / 255), cv2.cvtColor(drawn, cv2.COLOR_RGBA2RGB)
            )
            yield grain.on(np.asarray(picture, np.uint8))

    def landscape(self) -> Iterator[Image]:
        """The scene without anybody: a slow pan over hills. I420 as from `film`."""
        rng = np.random.default_rng(self.seed)
        hills = self.light.on(_hills(rng, self.width + _SLACK, self.height + _SLACK))
        grain = _Grain(rng, self.width, self.height, self.noise)
        for frame in range(self.frames):
            place = self.sway.at(frame / self.fps)
            yield grain.on(np.ascontiguousarray(_window(hills, place, self.width, self.height)))


class _Grain:
    """Camera noise: one large field per scene, looked at from another corner in each frame."""

    def __init__(self, rng: np.random.Generator, width: int, height: int, sigma: float) -> None:
        field = rng.standard_normal((height + _SLACK, width + _SLACK), np.float32) * sigma
        self._lighter = field.clip(0, 255).round().astype(np.uint8)
        self._darker = (-field).clip(0, 255).round().astype(np.uint8)
        self._rng = rng
        self._size = height, width

    def on(self, picture: Image) -> Image:
        """An RGB frame as I420, with noise on its luminance."""
        height, width = self._size
        planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        y, x = self._rng.integers(0, _SLACK, 2)
        here = np.s_[y : y + height, x : x + width]
        light = cv2.add(planes[:height], self._lighter[here])
        planes[:height] = cv2.subtract(light, self._darker[here])
        return np.asarray(planes, np.uint8)


def _window(image: Image, place: npt.NDArray[np.float64], width: int, height: int) -> Image:
    x, y = ((place[:2] * 0.5 + 0.5) * _SLACK).astype(int)
    return image[y : y + height, x : x + width]


def _clouds(rng: np.random.Generator, width: int, height: int, cells: int) -> Floats:
    """Smooth noise from 0 to 1, float32 [height, width], with `cells` bumps across."""
    coarse = rng.random((max(2, cells * height // width), cells), np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _room(rng: np.random.Generator, width: int, height: int) -> Image:
    """A wall with furniture and lamps out of focus, RGB."""
    image = _muted(rng) * (0.7 + 0.5 * _clouds(rng, width, height, 5))[..., None]
    for _ in range(int(rng.integers(4, 10))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        wide, high = (rng.uniform(0.05, 0.3, 2) * height).astype(int).tolist()
        cv2.rectangle(image, (x, y), (x + wide, y + 2 * high), _muted(rng).tolist(), -1)
    for _ in range(int(rng.integers(0, 6))):
        x, y = int(rng.integers(width)), int(rng.integers(height // 2))
        cv2.circle(image, (x, y), int(rng.integers(8, 40)), (255, 240, 210), -1)
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(8, 16))
    return np.asarray(blurred.round().clip(0, 255), np.uint8)


def _muted(rng: np.random.Generator) -> Floats:
    """A colour as walls and furniture have: a grey with a little tint."""
    return (rng.uniform(40, 200) * rng.uniform(0.8, 1.2, 3)).clip(0, 255).astype(np.float32)


def _hills(rng: np.random.Generator, width: int, height: int) -> Image:
    """Five ranges of hills under a sky, the farther the bluer, RGB."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = _ZENITH * (1 - down) + _HORIZON * down + 25 * _clouds(rng, width, height, 9)[..., None]
    rows = np.arange(height)[:, None]
    for nearness in np.linspace(0, 1, 5):
        ridge = (
            _clouds(rng, width, 2, 4 + int(8 * nearness))[0] + 0.2 * _clouds(rng, width, 2, 60)[0]
        )
        top = height * (0.35 + 0.5 * nearness - 0.15 * ridge)
        colour = (1 - nearness) * _FAR + nearness * _NEAR
        texture = 1 + (0.1 + 0.3 * nearness) * (_clouds(rng, width, height, 240) - 0.5)
        image = np.where((rows >= top)[..., None], colour * texture[..., None], image)
    return np.asarray(image.round().clip(0, 255), np.uint8)

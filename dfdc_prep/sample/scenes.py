"""Synthetic scenes: a person moves in front of a blurred room, or a camera pans over hills.

Frames are I420 (planar YUV 4:2:0, BT.601), uint8 [height * 3 / 2, width]: the format that H.264
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
#: Range of the camera motion, pixels; backgrounds and noise are larger by this much.
_MARGIN = 48


@dataclass(frozen=True)
class Motion:
    """A smooth motion: the mean of two sine waves for each of x, y, angle and size.

    Attributes:
        rates: frequencies in Hz, float64 [2, 4].
        phases: in radians, float64 [2, 4].
    """

    rates: npt.NDArray[np.float64]
    phases: npt.NDArray[np.float64]

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Motion":
        """A motion with random frequencies and phases."""
        return cls(rng.uniform(0.15, 0.7, (2, 4)), rng.uniform(0, 2 * np.pi, (2, 4)))

    def at(self, seconds: float) -> npt.NDArray[np.float64]:
        """x, y, angle and size at a time, each in [-1, 1]; float64 [4]."""
        waves = np.sin(2 * np.pi * self.rates * seconds + self.phases)
        return np.asarray(waves.mean(axis=0), np.float64)


@dataclass(frozen=True)
class Light:
    """Lighting: exposure, colour temperature, and a light source on one side."""

    gamma: float
    """Exponent of the levels; below 1 brightens."""
    warmth: float
    """Relative gain of red and loss of blue; 0.1 is 10 %."""
    falloff: float
    """Loss of brightness from the lit side to the opposite side, 0 to 1."""
    angle: float
    """Direction in which the brightness falls, radians."""

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Light":
        """Random lighting."""
        return cls(
            gamma=rng.uniform(0.75, 1.4),
            warmth=rng.uniform(-0.12, 0.12),
            falloff=rng.uniform(0.1, 0.5),
            angle=rng.uniform(0, 2 * np.pi),
        )

    def apply(self, image: Image) -> Image:
        """The image in this light; RGB uint8 [height, width, 3]."""
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
    """All parameters of a clip except the face; a family shares one scene."""

    width: int
    height: int
    fps: int
    frames: int
    scale: float
    mirrored: bool
    tilt: float
    """Mean angle of the head, degrees."""
    centre: tuple[float, float]
    """Mean position of the point between the eyes, as fractions of width and height."""
    motion: Motion
    light: Light
    noise: float
    """Standard deviation of the camera noise, levels of luma."""
    seed: int

    @classmethod
    def random(cls, rng: np.random.Generator, width: int, height: int) -> "Scene":
        """A random scene of two to three seconds at 25 or 30 frames per second."""
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
            motion=Motion.random(rng),
            light=Light.random(rng),
            noise=rng.uniform(1, 4),
            seed=int(rng.integers(2**32)),
        )

    def transform(self, person: Portrait, frame: int) -> npt.NDArray[np.float64]:
        """The affine map from portrait pixels to pixels of a frame, float64 [2, 3]."""
        x, y, turn, size = self.motion.at(frame / self.fps)
        scale = self.scale * (1 + 0.04 * size)
        # The photograph ends at the chest; its lower edge must stay below the frame.
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

    def render(self, person: Portrait, photograph: Image) -> Iterator[Image]:
        """Render the frames of the scene with a person.

        Args:
            person: the cut-out and the position of the eyes.
            photograph: `person.image` or the same with a swapped face; uint8
                [height, width, 3], RGB.

        Yields:
            I420, uint8 [height * 3 / 2, width].
        """
        rng = np.random.default_rng(self.seed)
        room = self.light.apply(_room(rng, self.width + _MARGIN, self.height + _MARGIN))
        noise = _CameraNoise(rng, self.width, self.height, self.noise)
        opacity = person.alpha[..., None] / np.float32(255)
        cut_out = np.dstack(
            [(self.light.apply(photograph) * opacity).astype(np.uint8), person.alpha]
        )
        for frame in range(self.frames):
            drawn = cv2.warpAffine(
                cut_out, self.transform(person, frame), (self.width, self.height)
            )
            # Alpha blending; the cut-out is premultiplied.
            behind = cv2.cvtColor(cv2.bitwise_not(drawn[..., 3]), cv2.COLOR_GRAY2RGB)
            background = _window(room, self.motion.at(frame / self.fps), self.width, self.height)
            picture = cv2.add(
                cv2.multiply(background, behind, scale=1 / 255),
                cv2.cvtColor(drawn, cv2.COLOR_RGBA2RGB),
            )
            yield noise.apply(np.asarray(picture, np.uint8))

    def render_landscape(self) -> Iterator[Image]:
        """Render a slow pan over hills, without a person; I420 as from `render`."""
        rng = np.random.default_rng(self.seed)
        hills = self.light.apply(_hills(rng, self.width + _MARGIN, self.height + _MARGIN))
        noise = _CameraNoise(rng, self.width, self.height, self.noise)
        for frame in range(self.frames):
            position = self.motion.at(frame / self.fps)
            yield noise.apply(
                np.ascontiguousarray(_window(hills, position, self.width, self.height))
            )


class _CameraNoise:
    """Camera noise: one large field per scene, of which each frame uses a random window."""

    def __init__(self, rng: np.random.Generator, width: int, height: int, sigma: float) -> None:
        field = rng.standard_normal((height + _MARGIN, width + _MARGIN), np.float32) * sigma
        self._positive = field.clip(0, 255).round().astype(np.uint8)
        self._negative = (-field).clip(0, 255).round().astype(np.uint8)
        self._rng = rng
        self._size = height, width

    def apply(self, picture: Image) -> Image:
        """Convert an RGB frame to I420 and add noise to its luma plane."""
        height, width = self._size
        planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        y, x = self._rng.integers(0, _MARGIN, 2)
        window = np.s_[y : y + height, x : x + width]
        # Unsigned planes: add the positive part of the noise, subtract the negative part.
        brighter = cv2.add(planes[:height], self._positive[window])
        planes[:height] = cv2.subtract(brighter, self._negative[window])
        return np.asarray(planes, np.uint8)


def _window(image: Image, position: npt.NDArray[np.float64], width: int, height: int) -> Image:
    """The part of a background that the camera sees; `position` as from `Motion.at`."""
    x, y = ((position[:2] * 0.5 + 0.5) * _MARGIN).astype(int)
    return image[y : y + height, x : x + width]


def _smooth_noise(rng: np.random.Generator, width: int, height: int, cells: int) -> Floats:
    """Smooth noise, about 0 to 1, float32 [height, width]; `cells` is its resolution in x."""
    coarse = rng.random((max(2, cells * height // width), cells), np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _room(rng: np.random.Generator, width: int, height: int) -> Image:
    """A blurred wall with furniture and lamps, RGB uint8 [height, width, 3]."""
    image = _muted_colour(rng) * (0.7 + 0.5 * _smooth_noise(rng, width, height, 5))[..., None]
    for _ in range(int(rng.integers(4, 10))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        wide, high = (rng.uniform(0.05, 0.3, 2) * height).astype(int).tolist()
        cv2.rectangle(image, (x, y), (x + wide, y + 2 * high), _muted_colour(rng).tolist(), -1)
    for _ in range(int(rng.integers(0, 6))):
        x, y = int(rng.integers(width)), int(rng.integers(height // 2))
        cv2.circle(image, (x, y), int(rng.integers(8, 40)), (255, 240, 210), -1)
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(8, 16))
    return np.asarray(blurred.round().clip(0, 255), np.uint8)


def _muted_colour(rng: np.random.Generator) -> Floats:
    """A random grey with a slight tint, RGB float32 [3]."""
    return (rng.uniform(40, 200) * rng.uniform(0.8, 1.2, 3)).clip(0, 255).astype(np.float32)


def _hills(rng: np.random.Generator, width: int, height: int) -> Image:
    """Five ranges of hills under a sky, bluer with distance, RGB uint8 [height, width, 3]."""
    # A vertical gradient with clouds, then the ranges from back to front.
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = (
        _ZENITH * (1 - down)
        + _HORIZON * down
        + 25 * _smooth_noise(rng, width, height, 9)[..., None]
    )
    rows = np.arange(height)[:, None]
    for nearness in np.linspace(0, 1, 5):
        ridge = (
            _smooth_noise(rng, width, 2, 4 + int(8 * nearness))[0]
            + 0.2 * _smooth_noise(rng, width, 2, 60)[0]
        )
        top = height * (0.35 + 0.5 * nearness - 0.15 * ridge)
        colour = (1 - nearness) * _FAR + nearness * _NEAR
        texture = 1 + (0.1 + 0.3 * nearness) * (_smooth_noise(rng, width, height, 240) - 0.5)
        image = np.where((rows >= top)[..., None], colour * texture[..., None], image)
    return np.asarray(image.round().clip(0, 255), np.uint8)

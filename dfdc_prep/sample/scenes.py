"""Synthetic scenes: a person moves in front of a blurred room, or a camera pans over hills.

Frames are I420 (planar YUV 4:2:0, BT.601), uint8 [height * 3 / 2, width]: the format that H.264
stores, and the one in which camera noise is cheapest to add.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dfdc_prep.sample.face_swap import Portrait
from dfdc_prep.video.picture import Image

Floats = NDArray[np.float32]

#: Colours of the landscape, RGB.
_ZENITH, _HORIZON, _FAR, _NEAR = np.array(
    [(120, 165, 225), (235, 225, 205), (130, 150, 175), (55, 80, 35)], np.float32
)
#: Range of the camera motion, pixels; backgrounds and noise are larger by this much.
_MARGIN = 48


@dataclass(frozen=True)
class Motion:
    """A smooth motion: the mean of two sine waves for each of x, y, angle and size."""

    rates: NDArray[np.float64]  # frequencies in Hz, [2, 4]
    phases: NDArray[np.float64]  # in radians, [2, 4]

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Motion":
        return cls(rng.uniform(0.15, 0.7, (2, 4)), rng.uniform(0, 2 * np.pi, (2, 4)))

    def at(self, seconds: float) -> NDArray[np.float64]:
        """x, y, angle and size at a time, each in [-1, 1]; float64 [4]."""
        waves = np.sin(2 * np.pi * self.rates * seconds + self.phases)
        return np.asarray(waves.mean(axis=0), np.float64)


@dataclass(frozen=True)
class Light:
    """Lighting: exposure, colour temperature, and a light source on one side."""

    gamma: float  # exponent of the levels; below 1 brightens
    warmth: float  # relative gain of red and loss of blue; 0.1 is 10 %
    falloff: float  # loss of brightness from the lit side to the opposite side, 0 to 1
    angle: float  # direction in which the brightness falls, radians

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Light":
        ranges = ((0.75, 1.4), (-0.12, 0.12), (0.1, 0.5), (0, 2 * np.pi))
        return cls(*(rng.uniform(low, high) for low, high in ranges))

    def apply(self, image: Image) -> Image:
        """The image in this light; RGB uint8 [height, width, 3]."""
        height, width = image.shape[:2]
        across = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(np.cos(self.angle))
        down = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(np.sin(self.angle))
        shade = 1 - self.falloff * (0.5 + 0.35 * (across[None, :] + down[:, None]))
        levels = np.linspace(0, 1, 256) ** self.gamma * 255
        tint = np.array([1 + self.warmth, 1, 1 - self.warmth], np.float32)
        return _as_image(levels.astype(np.float32)[image] * (shade[..., None] * tint))


@dataclass(frozen=True)
class Scene:
    """All parameters of a clip except the face; a family shares one scene."""

    width: int
    height: int
    fps: int
    frames: int
    scale: float
    mirrored: bool
    tilt: float  # mean angle of the head, degrees
    centre: tuple[float, float]  # mean position between the eyes, fractions of width and height
    motion: Motion
    light: Light
    noise: float  # standard deviation of the camera noise, levels of luma
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

    def transform(self, person: Portrait, frame: int) -> NDArray[np.float64]:
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
        """Render the frames of the scene with a person, as I420.

        Args:
            person: the cut-out and the position of the eyes.
            photograph: `person.image` or the same with a swapped face; uint8
                [height, width, 3], RGB.
        """
        rng = np.random.default_rng(self.seed)
        room = self.light.apply(_room(rng, self.width + _MARGIN, self.height + _MARGIN))
        noise = self._noise_field(rng)
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
            picture = cv2.add(
                cv2.multiply(self._background(room, frame), behind, scale=1 / 255),
                cv2.cvtColor(drawn, cv2.COLOR_RGBA2RGB),
            )
            yield self._with_noise(np.asarray(picture, np.uint8), noise, rng)

    def render_landscape(self) -> Iterator[Image]:
        """Render a slow pan over hills, without a person, as I420."""
        rng = np.random.default_rng(self.seed)
        hills = self.light.apply(_hills(rng, self.width + _MARGIN, self.height + _MARGIN))
        noise = self._noise_field(rng)
        for frame in range(self.frames):
            picture = np.ascontiguousarray(self._background(hills, frame))
            yield self._with_noise(picture, noise, rng)

    def _background(self, image: Image, frame: int) -> Image:
        """The part of a background that the camera sees."""
        x, y = ((self.motion.at(frame / self.fps)[:2] * 0.5 + 0.5) * _MARGIN).astype(int)
        return image[y : y + self.height, x : x + self.width]

    def _noise_field(self, rng: np.random.Generator) -> tuple[Image, Image]:
        """Camera noise, of which each frame uses a random window: what to add, what to subtract."""
        shape = self.height + _MARGIN, self.width + _MARGIN
        field = rng.standard_normal(shape, np.float32) * self.noise
        return _as_image(field), _as_image(-field)

    def _with_noise(
        self, picture: Image, noise: tuple[Image, Image], rng: np.random.Generator
    ) -> Image:
        """Convert an RGB frame to I420 and add noise to its luma plane."""
        planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        y, x = rng.integers(0, _MARGIN, 2)
        brighter, darker = (part[y : y + self.height, x : x + self.width] for part in noise)
        planes[: self.height] = cv2.subtract(cv2.add(planes[: self.height], brighter), darker)
        return np.asarray(planes, np.uint8)


def _as_image(levels: NDArray[np.floating]) -> Image:
    return levels.clip(0, 255).round().astype(np.uint8)


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
    return _as_image(np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(8, 16)), np.float32))


def _muted_colour(rng: np.random.Generator) -> Floats:
    """A random grey with a slight tint, RGB float32 [3]."""
    return (rng.uniform(40, 200) * rng.uniform(0.8, 1.2, 3)).clip(0, 255).astype(np.float32)


def _hills(rng: np.random.Generator, width: int, height: int) -> Image:
    """Five ranges of hills under a sky, bluer with distance, RGB uint8 [height, width, 3]."""
    # A vertical gradient with clouds, then the ranges from back to front.
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    clouds = 25 * _smooth_noise(rng, width, height, 9)[..., None]
    image = _ZENITH * (1 - down) + _HORIZON * down + clouds
    rows = np.arange(height)[:, None]
    for nearness in np.linspace(0, 1, 5):
        ridge = _smooth_noise(rng, width, 2, 4 + int(8 * nearness))[0]
        ridge = ridge + 0.2 * _smooth_noise(rng, width, 2, 60)[0]
        top = height * (0.35 + 0.5 * nearness - 0.15 * ridge)
        colour = (1 - nearness) * _FAR + nearness * _NEAR
        texture = 1 + (0.1 + 0.3 * nearness) * (_smooth_noise(rng, width, height, 240) - 0.5)
        image = np.where((rows >= top)[..., None], colour * texture[..., None], image)
    return _as_image(image)

"""Where the lines and points of the curve of P(FAKE) over time are drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.app.result import PersonResult

#: Size of the drawing, in its own units; the page scales it.
WIDTH, HEIGHT = 480, 220
#: The plot's area within the drawing.
LEFT, RIGHT, TOP, BOTTOM = 40, 472, 10, 188
#: Largest number of labels on the time axis.
_MAX_TICKS = 7
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


@dataclass(frozen=True)
class CurvePoint:
    """A scored face on the curve; `view` is the position of its picture."""

    x: float
    y: float
    time_s: float
    p_fake: float
    view: int


@dataclass(frozen=True)
class CurveLine:
    """The points of one person, in order of time."""

    person: int
    points: tuple[CurvePoint, ...]

    @property
    def path(self) -> str:
        """The points as SVG's `polyline` takes them."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True)
class Curve:
    """The curve of a clip.

    Attributes:
        ticks: position and label of each mark on the time axis.
    """

    lines: tuple[CurveLine, ...]
    ticks: tuple[tuple[float, str], ...]


def draw_curve(persons: Sequence[PersonResult]) -> Curve:
    """Place P(FAKE) of each person over time, from 0 to the last scored frame."""
    end = max((face.time_s for person in persons for face in person.faces), default=0.0)
    end = end if end > 0 else 1.0

    def x(time_s: float) -> float:
        return LEFT + (RIGHT - LEFT) * time_s / end

    lines = tuple(
        CurveLine(
            person.number,
            tuple(
                CurvePoint(
                    x(face.time_s), height_of(face.p_fake), face.time_s, face.p_fake, face.view
                )
                for face in person.faces
            ),
        )
        for person in persons
    )
    step = next((step for step in _STEPS_S if end / step <= _MAX_TICKS), end)
    ticks = tuple((x(i * step), f"{i * step:g}") for i in range(math.floor(end / step) + 1))
    return Curve(lines, ticks)


def height_of(p_fake: float) -> float:
    """The vertical position of a probability."""
    return BOTTOM - (BOTTOM - TOP) * p_fake

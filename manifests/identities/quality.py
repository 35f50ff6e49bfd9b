"""When a face is weak evidence of who it shows. Imports nothing, for the worker processes.

The limits were set on DFDC crops and on photographs of known people; docs/identities.md has
the figures.
"""

DARK, PROFILE, SMALL = "dark", "profile", "small"
#: The faces of one clip differ too much to be of one person.
SPREAD = "spread"
#: Only a fake shows the clip: its face drifts from the person filmed.
FAKED = "fake"
#: A person should look at it: it could join another group, or was joined only just.
NEAR = "near"
#: Weak evidence that resembles nobody.
ALONE = "alone"

#: Smallest mean luma of a face, 0 to 255. Dark faces of strangers resemble each other.
MIN_LIGHT = 40.0
#: Largest asymmetry of a face: profiles lie above it, three-quarter views below.
MAX_ASYMMETRY = 0.35
#: Smallest longer side of a face box, pixels.
MIN_SIZE = 40.0
#: Largest distance between two faces of one clip.
MAX_SPREAD = 0.5

#: Values at which more of the same no longer improves a face.
_FULL_LIGHT, _FULL_SIZE = 80.0, 120.0


def flaws(light: float, asymmetry: float, size: float | None) -> tuple[str, ...]:
    """Return why a face is weak evidence, nothing for a good face.

    Args:
        light: mean luma of the face box, 0 to 255.
        asymmetry: see `dfdc_prep.identities.encoder`.
        size: longer side of the face box, pixels; None if unknown.
    """
    found = []
    if light < MIN_LIGHT:
        found.append(DARK)
    if asymmetry > MAX_ASYMMETRY:
        found.append(PROFILE)
    if size is not None and size < MIN_SIZE:
        found.append(SMALL)
    return tuple(found)


def quality(light: float, asymmetry: float, size: float | None, score: float | None) -> float:
    """Return how well a face suits encoding; a good face always beats a weak one.

    Args:
        score: the detector's confidence, on its own scale; None if unknown.
    """
    value = min(1.0, light / _FULL_LIGHT) * max(0.0, 1.0 - asymmetry)
    value *= 1.0 if size is None else min(1.0, size / _FULL_SIZE)
    value *= 1.0 if score is None else max(0.0, min(1.0, score))
    return value + (0.0 if flaws(light, asymmetry, size) else 1.0)

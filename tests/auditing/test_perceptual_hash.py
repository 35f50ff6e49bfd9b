import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.data import astronaut

from manifests.auditing.audit import audit
from manifests.auditing.perceptual_hash import (
    MAX_DISTANCE,
    near_identical_presence,
    near_pairs,
    perceptual_hash,
)
from tests.auditing.test_audit import leaky_table


def encoded(x: int, kind: str = "PNG", quality: int = 95) -> bytes:
    """Encode a 224x224 region of the astronaut image, `x` pixels from its left edge."""
    file = io.BytesIO()
    Image.fromarray(astronaut()[:224, x : x + 224]).save(file, kind, quality=quality)
    return file.getvalue()


def test_reencoded_image_is_near_and_another_image_is_not() -> None:
    hashes = [
        perceptual_hash(encoded(0)),
        perceptual_hash(encoded(0, "JPEG", 70)),
        perceptual_hash(encoded(99)),
    ]
    assert None not in hashes
    array = np.array(hashes, np.uint64)
    assert int(np.bitwise_count(array[0] ^ array[1])) <= MAX_DISTANCE
    assert int(np.bitwise_count(array[0] ^ array[2])) > MAX_DISTANCE


def test_undecodable_image_has_no_hash() -> None:
    assert perceptual_hash(b"no image") is None
    assert perceptual_hash(encoded(0)[:1000]) is None


bits = st.sets(st.integers(0, 63), max_size=6)


@settings(deadline=None)
@given(st.lists(bits, max_size=12))
def test_near_pairs_matches_brute_force(flips: list[set[int]]) -> None:
    base = 0x9E3779B97F4A7C15
    numbers = sorted({base ^ sum(1 << bit for bit in flip) for flip in flips})
    pairs = {
        (min(pair), max(pair))
        for first, second in near_pairs(np.array(numbers, np.uint64))
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    }
    assert pairs == {
        (i, j)
        for j in range(len(numbers))
        for i in range(j)
        if (numbers[i] ^ numbers[j]).bit_count() <= MAX_DISTANCE
    }


def test_near_identical_images_leak_without_shared_families() -> None:
    hashes = np.array([0b1111, 0b0, 0xFFFF << 40, 0x7 << 40], np.uint64)
    (leak,) = audit(leaky_table(), hashes, np.array([True, True, True, False])).images or []
    assert leak.touched == {"REAL": 0, "FAKE": 1}
    assert leak.shared == 1
    seen = np.eye(2, dtype=bool)
    assert near_identical_presence(np.array([0b1111, 0], np.uint64), seen).all()

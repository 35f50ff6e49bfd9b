"""Augmentation of training batches in the `tf.data` pipeline, for any Keras backend.

Stateless: the result depends only on the seed and the image's position in the epoch. Images are RGB
uint8 [224, 224, 3] before and after each step; `seed` is an int64 [2] tensor.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

Image = Any
Step = Callable[[Image, Any], Image]


def _uniform(seed: Any, low: float, high: float) -> Any:
    return tf.random.stateless_uniform([], seed, low, high)


def _seeds(seed: Any, number: int) -> list[Any]:
    seeds: list[Any] = tf.unstack(tf.random.split(seed, number))
    return seeds


def _with_probability(probability: float, change: Step) -> Step:
    def step(image: Image, seed: Any) -> Image:
        own, rest = _seeds(seed, 2)
        return tf.cond(
            _uniform(own, 0, 1) < probability, lambda: change(image, rest), lambda: image
        )

    return step


def _to_uint8(image: Image) -> Image:
    return tf.cast(tf.round(tf.clip_by_value(image, 0, 255)), tf.uint8)


def flip(image: Image, seed: Any) -> Image:
    """Mirror left to right with probability 0.5."""
    return tf.image.stateless_random_flip_left_right(image, seed)


def jpeg(image: Image, seed: Any) -> Image:
    """Encode as JPEG of quality 60 to 99 and decode again."""
    return tf.image.stateless_random_jpeg_quality(image, 60, 100, seed)


def noise(image: Image, seed: Any) -> Image:
    """Add Gaussian noise with a standard deviation of 3 to 7 grey levels."""
    own, rest = _seeds(seed, 2)
    drawn = tf.random.stateless_normal(tf.shape(image), rest, stddev=_uniform(own, 3, 7))
    return _to_uint8(tf.cast(image, tf.float32) + drawn)


def blur(image: Image, seed: Any) -> Image:
    """Blur with the 3 x 3 Gaussian kernel (1, 2, 1) x (1, 2, 1) / 16."""
    line = tf.constant([0.25, 0.5, 0.25])
    kernel = tf.tile(tf.reshape(line[:, None] * line[None, :], [3, 3, 1, 1]), [1, 1, 3, 1])
    padded = tf.pad(tf.cast(image, tf.float32), [[1, 1], [1, 1], [0, 0]], "REFLECT")
    return _to_uint8(tf.nn.depthwise_conv2d(padded[None], kernel, [1, 1, 1, 1], "VALID")[0])


def shift_scale(image: Image, seed: Any) -> Image:
    """Shift by up to 10 % of the side and scale by up to 20 %; fill with black."""
    seeds = _seeds(seed, 3)
    zoom = 1 / _uniform(seeds[0], 0.8, 1.2)
    side = tf.cast(tf.shape(image)[0], tf.float32)
    x, y = (side * (_uniform(each, -0.1, 0.1) + (1 - zoom) / 2) for each in seeds[1:])
    # A projective transform [a0, a1, a2, b0, b1, b2, c0, c1] from output to input pixels.
    transform = tf.stack([zoom, 0.0, x, 0.0, zoom, y, 0.0, 0.0])[None]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None], transforms=transform, output_shape=tf.shape(image)[:2],
        fill_value=0.0, interpolation="BILINEAR", fill_mode="CONSTANT",
    )  # fmt: skip
    return moved[0]


def brightness_contrast(image: Image, seed: Any) -> Image:
    """Change brightness and contrast by up to 20 %."""
    own, rest = _seeds(seed, 2)
    values = tf.image.stateless_random_brightness(tf.cast(image, tf.float32), 51.0, own)
    return _to_uint8(tf.image.stateless_random_contrast(values, 0.8, 1.2, rest))


def hue_saturation(image: Image, seed: Any) -> Image:
    """Change hue by up to 20 degrees and saturation by up to 20 %."""
    own, rest = _seeds(seed, 2)
    values = tf.image.stateless_random_hue(tf.cast(image, tf.float32) / 255, 0.055, own)
    return _to_uint8(255 * tf.image.stateless_random_saturation(values, 0.8, 1.2, rest))


def greyscale(image: Image, seed: Any) -> Image:
    """Convert to greyscale, still with three channels."""
    return tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(image))


def cutout(image: Image, seed: Any) -> Image:
    """Black out a rectangle of 20 % to 50 % of each side at a random position."""
    side = tf.cast(tf.shape(image)[0], tf.float32)
    height, width, top, left = (_uniform(s, 0, 1) for s in _seeds(seed, 4))
    position = tf.range(side)

    def inside(share: Any, start: Any) -> Any:
        length = (0.2 + 0.3 * share) * side
        first = start * (side - length)
        return (position >= first) & (position < first + length)

    cut = inside(height, top)[:, None] & inside(width, left)[None, :]
    return tf.where(cut[..., None], tf.zeros_like(image), image)


#: The steps of each augmentation, in order.
#: `plain` is ours, for v1.5: the paper states that it augments but not how.
#: `winning` follows the winner of DFDC (github.com/selimsef/dfdc_deepfake_challenge,
#: training/pipelines/train_classifier.py) in kinds, strengths and probabilities: compression
#: 0.5, noise 0.1, blur 0.05, flip 0.5, brightness or colour 0.7, greyscale 0.2, shift and scale
#: 0.5. Its cutout of face parts needs landmarks and is replaced by a rectangle, 0.3.
STEPS: Mapping[str, tuple[Step, ...]] = {
    "none": (),
    "plain": (
        flip,
        _with_probability(0.5, shift_scale),
        _with_probability(0.5, brightness_contrast),
    ),
    "winning": (
        _with_probability(0.3, cutout),
        _with_probability(0.5, jpeg),
        _with_probability(0.1, noise),
        _with_probability(0.05, blur),
        flip,
        _with_probability(0.35, brightness_contrast),
        _with_probability(0.35, hue_saturation),
        _with_probability(0.2, greyscale),
        _with_probability(0.5, shift_scale),
    ),
}


def augment(batches: Any, name: str, seed: int) -> Any:
    """Augment (images uint8 [B, H, W, 3], labels) batches by a name in STEPS."""
    steps = STEPS[name]
    if not steps:
        return batches

    def augment_image(image: Image, own: Any) -> Image:
        for step, each in zip(steps, _seeds(own, len(steps)), strict=True):
            image = tf.ensure_shape(step(image, each), image.shape)
        return image

    def augment_batch(index: Any, pair: Any) -> Any:
        images, labels = pair
        # One seed per image, derived from the seed and the index of the batch.
        seeds = tf.random.split(tf.stack([tf.cast(seed, tf.int64), index]), images.shape[0])
        out = tf.map_fn(
            lambda each: augment_image(*each), (images, seeds), fn_output_signature=images.dtype
        )
        return tf.ensure_shape(out, images.shape), labels

    return batches.enumerate().map(augment_batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)

"""Augmentations of training batches, inside the input pipeline, the same on any backend.

Stateless: what happens to an image depends on the seed and its place in the epoch alone,
not on threads or restarts. Images are uint8 RGB [224, 224, 3] before and after.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

Image = Any
Step = Callable[[Image, Any], Image]


def _uniform(seed: Any, low: float, high: float) -> Any:
    return tf.random.stateless_uniform([], seed, low, high)


def _sometimes(share: float, change: Step) -> Step:
    """The change, made to a share of the images."""

    def step(image: Image, seed: Any) -> Image:
        own, rest = tf.unstack(tf.random.split(seed, 2))
        return tf.cond(_uniform(own, 0, 1) < share, lambda: change(image, rest), lambda: image)

    return step


def _to_uint8(image: Image) -> Image:
    return tf.cast(tf.round(tf.clip_by_value(image, 0, 255)), tf.uint8)


def flip(image: Image, seed: Any) -> Image:
    """Mirror half of the images left to right."""
    return tf.image.stateless_random_flip_left_right(image, seed)


def jpeg(image: Image, seed: Any) -> Image:
    """Compress to JPEG of quality 60 to 99 and back."""
    return tf.image.stateless_random_jpeg_quality(image, 60, 100, seed)


def noise(image: Image, seed: Any) -> Image:
    """Gaussian noise of a standard deviation of 3 to 7 grey levels."""
    own, rest = tf.unstack(tf.random.split(seed, 2))
    drawn = tf.random.stateless_normal(tf.shape(image), rest, stddev=_uniform(own, 3, 7))
    return _to_uint8(tf.cast(image, tf.float32) + drawn)


def blur(image: Image, seed: Any) -> Image:
    """A 3 x 3 Gaussian kernel (1, 2, 1)."""
    line = tf.constant([0.25, 0.5, 0.25])
    kernel = tf.tile(tf.reshape(line[:, None] * line[None, :], [3, 3, 1, 1]), [1, 1, 3, 1])
    padded = tf.pad(tf.cast(image, tf.float32), [[1, 1], [1, 1], [0, 0]], "REFLECT")
    blurred = tf.nn.depthwise_conv2d(padded[None], kernel, [1, 1, 1, 1], "VALID")[0]
    return _to_uint8(blurred)


def scale(image: Image, seed: Any) -> Image:
    """Shift by up to a tenth and scale by up to a fifth, black where nothing was."""
    seeds = tf.unstack(tf.random.split(seed, 3))
    zoom = 1 / _uniform(seeds[0], 0.8, 1.2)
    side = tf.cast(tf.shape(image)[0], tf.float32)
    x, y = (side * (_uniform(each, -0.1, 0.1) + (1 - zoom) / 2) for each in seeds[1:])
    transform = tf.stack([zoom, 0.0, x, 0.0, zoom, y, 0.0, 0.0])[None]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=transform,
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return moved[0]


def light(image: Image, seed: Any) -> Image:
    """Brightness and contrast by up to a fifth."""
    own, rest = tf.unstack(tf.random.split(seed, 2))
    values = tf.image.stateless_random_brightness(tf.cast(image, tf.float32), 51.0, own)
    return _to_uint8(tf.image.stateless_random_contrast(values, 0.8, 1.2, rest))


def colour(image: Image, seed: Any) -> Image:
    """Hue by up to 20 degrees and saturation by up to a fifth."""
    own, rest = tf.unstack(tf.random.split(seed, 2))
    values = tf.image.stateless_random_hue(tf.cast(image, tf.float32) / 255, 0.055, own)
    return _to_uint8(255 * tf.image.stateless_random_saturation(values, 0.8, 1.2, rest))


def grey(image: Image, seed: Any) -> Image:
    """Take the colour away."""
    return tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(image))


def cut_out(image: Image, seed: Any) -> Image:
    """Blacken a rectangle of a fifth to half of each side, anywhere."""
    side = tf.cast(tf.shape(image)[0], tf.float32)
    height, width, top, left = (_uniform(s, 0, 1) for s in tf.unstack(tf.random.split(seed, 4)))
    rows, columns = ((0.2 + 0.3 * each) * side for each in (height, width))
    place = tf.range(side)
    down = (place >= top * (side - rows)) & (place < top * (side - rows) + rows)
    along = (place >= left * (side - columns)) & (place < left * (side - columns) + columns)
    return tf.where((down[:, None] & along[None, :])[..., None], tf.zeros_like(image), image)


#: `plain` is ours, for v1.5: the paper says that it augments, not how.
#: `winning` follows the winner of DFDC (github.com/selimsef/dfdc_deepfake_challenge,
#: training/pipelines/train_classifier.py) in kinds, strengths and shares: compression 0.5,
#: noise 0.1, blur 0.05, flip 0.5, light or colour 0.7, grey 0.2, shift and scale 0.5; its
#: cut-outs of face parts need landmarks, a rectangle stands in for them, 0.3 of the images.
STEPS: Mapping[str, tuple[Step, ...]] = {
    "none": (),
    "plain": (flip, _sometimes(0.5, scale), _sometimes(0.5, light)),
    "winning": (
        _sometimes(0.3, cut_out),
        _sometimes(0.5, jpeg),
        _sometimes(0.1, noise),
        _sometimes(0.05, blur),
        flip,
        _sometimes(0.35, light),
        _sometimes(0.35, colour),
        _sometimes(0.2, grey),
        _sometimes(0.5, scale),
    ),
}


def apply(batches: Any, name: str, seed: int) -> Any:
    """Augment a dataset of (images uint8 [B, H, W, 3], labels) batches.

    Args:
        name: one of `training.recipes.AUGMENTATIONS`.
    """
    steps = STEPS[name]
    if not steps:
        return batches

    def one(image: Image, own: Any) -> Image:
        for step, each in zip(steps, tf.unstack(tf.random.split(own, len(steps))), strict=True):
            image = tf.ensure_shape(step(image, each), image.shape)
        return image

    def batch(index: Any, pair: Any) -> Any:
        images, labels = pair
        seeds = tf.random.split(tf.stack([tf.cast(seed, tf.int64), index]), images.shape[0])
        out = tf.map_fn(lambda each: one(*each), (images, seeds), fn_output_signature=images.dtype)
        return tf.ensure_shape(out, images.shape), labels

    return batches.enumerate().map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)

"""The recipes as data: the paper's five, with what it published, and one of ours.

The paper is Zhalgasbayev, Aiteni, Khaimuldin, "Using the CNN architecture based on the
EfficientNetB4 model to efficiently detect Deepfake images". Its five versions share one
model (EfficientNetB4 at 224, global average pooling, one sigmoid unit) and one optimizer
(SGD, 0.01, momentum 0.9, binary cross-entropy) and differ in images, epochs and batch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from training.errors import TrainingError

#: What `Recipe.backbone` and `Recipe.augmentation` may be.
BACKBONES = tuple(f"EfficientNetB{i}" for i in range(8))
AUGMENTATIONS = ("none", "plain", "winning")

#: Keras's dtype policies a run may have.
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")

#: What the paper's split makes of its images: 56 % train, 24 % validation, 20 % test.
TRAIN_FRACTION = 0.56


@dataclass(frozen=True)
class Published:
    """What the paper reports for a recipe, on its own test split (which leaks families)."""

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Recipe:
    """All that decides a training besides the data, the weights and the seed.

    Attributes:
        images: how many images the recipe is meant for, all splits, both classes together.
        patience: epochs without a better validation loss before stopping; 0 never stops.
        augmentation: one of `AUGMENTATIONS`, done by `training.augment`.
        head_epochs: epochs that train the sigmoid unit alone, the backbone frozen.
        unfreeze_from: the first block that trains afterwards ("block4"); "" means all.
        freeze_batchnorm: keep BatchNormalization's ImageNet statistics and scales.
        schedule: "constant", or "cosine" down to zero over the epochs after `head_epochs`.
    """

    name: str
    images: int
    epochs: int
    batch_size: int
    backbone: str = "EfficientNetB4"
    learning_rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    patience: int = 0
    augmentation: str = "none"
    head_epochs: int = 0
    head_learning_rate: float = 0.01
    unfreeze_from: str = ""
    freeze_batchnorm: bool = False
    schedule: str = "constant"
    label_smoothing: float = 0.0
    published: Published | None = None

    def values(self) -> dict[str, Any]:
        """The recipe as plain values, for config.json."""
        return asdict(self)


def _fine_tune() -> Recipe:
    """Ours: two epochs of the head alone, then blocks 3 to 7 with BatchNorm frozen.

    Frozen head first, BatchNorm kept at its ImageNet statistics: the Keras guide "Image
    classification via fine-tuning with EfficientNet" measures that unfreezing it ruins the
    first epochs. SGD with Nesterov momentum, weight decay 1e-4 and labels of 0.01 and 0.99
    (a label smoothing of 0.02 in Keras's terms) are those of the winner of DFDC
    (github.com/selimsef/dfdc_deepfake_challenge: configs/b7.json, train.sh,
    classifier_dataset.py); a cosine takes the place of its polynomial decay. The
    augmentations are the winner's too, see `training.augment`. Nothing is published for it.
    """
    return Recipe(
        "fine-tune",
        images=32_000,
        epochs=20,
        batch_size=16,
        nesterov=True,
        weight_decay=1e-4,
        augmentation="winning",
        head_epochs=2,
        unfreeze_from="block3",
        freeze_batchnorm=True,
        schedule="cosine",
        label_smoothing=0.02,
    )


#: v1.4's patience and v1.5's augmentation are not told by the paper; these are common ones.
RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("v1.1", 16_000, 120, 32, published=Published(0.8531, 0.9521)),
        Recipe("v1.2", 32_000, 12, 32, published=Published(0.8739, 0.5399)),
        Recipe("v1.3", 32_000, 47, 16, published=Published(0.9022, 0.4872)),
        Recipe("v1.4", 32_000, 47, 16, patience=5, published=Published(0.8395, 0.3455)),
        Recipe("v1.5", 32_000, 47, 16, augmentation="plain", published=Published(0.8936, 0.3751)),
        _fine_tune(),
    )
}


def choose(name: str, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe of that name with the given values in place of its own.

    Raises:
        TrainingError: no such recipe, or a value that is none of its kind.
    """
    if name not in RECIPES:
        raise TrainingError(f"expected a recipe of {', '.join(RECIPES)}, found {name!r}")
    recipe = replace(RECIPES[name], **overrides)
    for value, allowed in ((recipe.backbone, BACKBONES), (recipe.augmentation, AUGMENTATIONS)):
        if value not in allowed:
            raise TrainingError(f"expected one of {', '.join(allowed)}, found {value!r}")
    return recipe


def differences(recipe: Recipe, counts: Mapping[str, int]) -> list[str]:
    """How the data at hand and the values given differ from the published recipe.

    Args:
        counts: images per split.

    Returns:
        One sentence each; empty where the run is the recipe as published.
    """
    own = RECIPES[recipe.name]
    said = [
        f"{name} is {value}, the recipe says {published}"
        for name, value in recipe.values().items()
        if (published := own.values()[name]) != value
    ]
    total = sum(counts.values())
    if total != recipe.images:
        train = round(recipe.images * TRAIN_FRACTION)
        said.append(
            f"the shards hold {total:,} images, {counts.get('train', 0):,} of them for training; "
            f"the recipe says {recipe.images:,} and {train:,}"
        )
    return said

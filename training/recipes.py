"""Training recipes: five from the paper, with its published results, and one of our own.

The paper is Zhalgasbayev, Aiteni, Khaimuldin, "Using the CNN architecture based on the
EfficientNetB4 model to efficiently detect Deepfake images". Its five versions share one
model (EfficientNetB4 at 224, global average pooling, one sigmoid unit) and one optimizer
(SGD, 0.01, momentum 0.9, binary cross-entropy) and differ in images, epochs and batch.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from dfdc_prep.hyperparameters import Published, Recipe
from manifests.errors import TrainingError
from manifests.wording import counted, did_you_mean

#: Valid values of `Recipe.backbone` and `Recipe.augmentation`.
BACKBONES = tuple(f"EfficientNetB{i}" for i in range(8))
AUGMENTATIONS = ("none", "plain", "winning")

#: Keras dtype policies supported for a run.
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")

#: The paper's split is 56 % train, 24 % validation, 20 % test.
TRAIN_FRACTION = 0.56


#: Ours: two epochs of the head only, then blocks 3 to 7 with BatchNorm frozen, after the Keras
#: guide "Image classification via fine-tuning with EfficientNet", which finds that unfreezing
#: BatchNorm ruins the first epochs. SGD with Nesterov momentum, weight decay 1e-4 and targets of
#: 0.01 and 0.99 (label smoothing 0.02 in Keras) come from the winner of DFDC
#: (github.com/selimsef/dfdc_deepfake_challenge: configs/b7.json, train.sh, classifier_dataset.py),
#: with cosine decay instead of its polynomial decay; so do the augmentations, see
#: `training.data.augmentation`. There are no published results for this recipe.
_FINE_TUNE = Recipe(
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
#: The paper does not give the patience of v1.4 or the augmentation of v1.5; the values here
#: are common choices.
RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("v1.1", 16_000, 120, 32, published=Published(0.8531, 0.9521)),
        Recipe("v1.2", 16_000, 12, 32, published=Published(0.8739, 0.5399)),
        Recipe("v1.3", 32_000, 47, 16, published=Published(0.9022, 0.4872)),
        Recipe("v1.4", 32_000, 47, 16, patience=5, published=Published(0.8395, 0.3455)),
        Recipe("v1.5", 32_000, 47, 16, augmentation="plain", published=Published(0.8936, 0.3751)),
        _FINE_TUNE,
    )
}


def choose_recipe(name: str, overrides: Mapping[str, Any]) -> Recipe:
    """Look up a recipe by name and apply overrides to its fields.

    Raises:
        TrainingError: the recipe does not exist, or a backbone or augmentation is invalid.
    """
    if name not in RECIPES:
        raise TrainingError(
            f"expected a recipe of {', '.join(RECIPES)}, found {name!r}; "
            + (did_you_mean(name, RECIPES) or "give one of them")
        )
    recipe = replace(RECIPES[name], **overrides)
    for value, allowed in ((recipe.backbone, BACKBONES), (recipe.augmentation, AUGMENTATIONS)):
        if value not in allowed:
            raise TrainingError(
                f"expected one of {', '.join(allowed)}, found {value!r}; "
                + (did_you_mean(value, allowed) or "give one of them")
            )
    return recipe


def describe_differences(recipe: Recipe, counts: Mapping[str, int]) -> list[str]:
    """List how the shards and the overrides differ from the published recipe.

    Args:
        counts: images per split.

    Returns:
        One sentence per difference; empty if there is none.
    """
    published = asdict(RECIPES[recipe.name])
    sentences = [
        f"{name} is {value}; the recipe has {published[name]}"
        for name, value in asdict(recipe).items()
        if published[name] != value
    ]
    total = sum(counts.values())
    if total != recipe.images:
        train = round(recipe.images * TRAIN_FRACTION)
        sentences.append(
            f"the shards contain {counted(total, 'image')}, {counts.get('train', 0):,} of them for "
            f"training; the recipe has {recipe.images:,} and {train:,}"
        )
    return sentences

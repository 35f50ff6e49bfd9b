import pytest

from manifests.errors import TrainingError
from training.recipes import RECIPES, choose_recipe, describe_differences


def test_the_papers_table():
    """Images, epochs, batch and published test accuracy and loss of its five versions."""
    table = {
        name: (r.images, r.epochs, r.batch_size, r.published.accuracy, r.published.loss)
        for name, r in RECIPES.items()
        if r.published
    }
    assert table == {
        "v1.1": (16_000, 120, 32, 0.8531, 0.9521),
        "v1.2": (16_000, 12, 32, 0.8739, 0.5399),
        "v1.3": (32_000, 47, 16, 0.9022, 0.4872),
        "v1.4": (32_000, 47, 16, 0.8395, 0.3455),
        "v1.5": (32_000, 47, 16, 0.8936, 0.3751),
    }
    assert RECIPES["v1.4"].patience
    assert RECIPES["v1.5"].augmentation != "none"
    assert {r.learning_rate for r in RECIPES.values()} == {0.01}


def test_the_papers_own_data_differ_in_nothing():
    assert (
        describe_differences(RECIPES["v1.3"], {"train": 17_920, "validation": 7_680, "test": 6_400})
        == []
    )


def test_other_data_and_other_values_are_listed():
    sentences = describe_differences(
        choose_recipe("v1.3", {"epochs": 3}), {"train": 7, "validation": 3, "test": 2}
    )
    assert "epochs is 3; the recipe has 47" in sentences
    assert "the shards contain 12 images" in sentences[-1]


def test_an_unknown_recipe_or_backbone_is_refused():
    with pytest.raises(TrainingError, match="found 'v9'"):
        choose_recipe("v9", {})
    with pytest.raises(TrainingError, match="found 'ResNet50'"):
        choose_recipe("v1.3", {"backbone": "ResNet50"})

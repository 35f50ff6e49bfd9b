import numpy as np
import pytest
from PIL import Image

from training.evaluation import plots

HISTORY = [
    {"epoch": n, "accuracy": 0.6 + n / 30, "loss": 0.7 - n / 20, "val_accuracy": 0.7, "val_loss": 1}
    for n in range(1, 9)
]


def colours(path):
    with Image.open(path) as image:
        return {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}


def rgb(name):
    return tuple(bytes.fromhex(name[1:]))


def test_curves_show_both_splits(tmp_path):
    plots.plot_curves(HISTORY, tmp_path / "curves.png", best=3)
    assert {rgb(plots.TRAINING_COLOUR), rgb(plots.VALIDATION_COLOUR)} <= colours(
        tmp_path / "curves.png"
    )


def test_samples_tell_right_from_wrong(tmp_path):
    grey = [np.full((224, 224, 3), 99, np.uint8)] * 3
    plots.plot_samples(grey, [0, 1, 1], [0.2, 0.9, 0.6], tmp_path / "right.png")
    plots.plot_samples(grey, [1, 0, 0], [0.2, 0.9, 0.6], tmp_path / "wrong.png")
    right, wrong = rgb(plots.CORRECT_COLOUR), rgb(plots.WRONG_COLOUR)
    assert right in colours(tmp_path / "right.png")
    assert wrong not in colours(tmp_path / "right.png")
    assert wrong in colours(tmp_path / "wrong.png")
    assert (99, 99, 99) in colours(tmp_path / "right.png")


@pytest.mark.parametrize("matrix", [[[10, 2], [3, 9]], [[5, 0], [0, 0]]])
def test_a_confusion_matrix_is_drawn_the_same_again(tmp_path, matrix):
    for name in ("a.png", "b.png"):
        plots.plot_confusion(matrix, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

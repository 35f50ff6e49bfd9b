import numpy as np

from training.evaluation import heatmaps

GREY = np.full((224, 224, 3), 100, np.uint8)


def test_the_face_stays_as_it_is_and_the_heat_lies_where_the_map_is():
    activation = np.zeros((7, 7), np.float32)
    activation[1, 5] = 10
    drawn = heatmaps.draw_side_by_side(GREY, activation)
    assert np.array_equal(drawn[:, :224], GREY)
    changed = np.abs(drawn[:, 224:].astype(int) - 100).sum(axis=-1)
    assert np.unravel_index(changed.argmax(), changed.shape)[0] // 32 == 1
    assert np.unravel_index(changed.argmax(), changed.shape)[1] // 32 == 5
    assert changed[150:].max() == 0


def test_weak_evidence_stays_dark():
    weak, strong = np.zeros((7, 7), np.float32), np.zeros((7, 7), np.float32)
    weak[3, 3], strong[3, 3] = 0.2, 20
    heat = [
        np.abs(heatmaps.draw_side_by_side(GREY, a)[:, 224:].astype(int) - 100).max()
        for a in (weak, strong)
    ]
    assert heat[0] < 0.2 * heat[1]
    assert np.array_equal(heatmaps.draw_side_by_side(GREY, weak * 0)[:, 224:], GREY)

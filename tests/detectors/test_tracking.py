from dfdc_prep.detectors.base import Face, iou, number_tracks, select_detections


def face(x: int, y: int, size: int) -> Face:
    return Face(x, y, size, size, 1.0)


def test_the_tracked_face_wins_over_a_larger_face_in_one_frame() -> None:
    frames = [[face(100 + 5 * i, 100, 80)] for i in range(5)]
    frames[2].append(face(600, 100, 200))
    assert select_detections(frames) == [[0], [0], [0], [0], [0]]


def test_a_detection_that_fits_no_neighbor_is_dropped() -> None:
    frames = [[face(100, 100, 80)] for _ in range(5)]
    frames[3] = [face(900, 500, 90)]
    assert select_detections(frames) == [[0], [0], [0], [], [0]]
    assert select_detections(frames, every_face=True) == [[0], [0], [0], [], [0]]


def test_without_a_main_face_each_frame_keeps_its_largest() -> None:
    frames = [[face(0, 0, 50)], [face(400, 0, 50), face(900, 0, 70)], [face(0, 700, 20)], []]
    assert select_detections(frames) == [[0], [1], [0], []]


def test_every_face_keeps_the_second_person() -> None:
    frames = [[face(100, 100, 80), face(500, 100, 60)] for _ in range(3)]
    assert select_detections(frames, every_face=True) == [[0, 1]] * 3


def test_tracks_are_numbered_the_longest_first() -> None:
    frames = [[face(500, 100, 60)], [face(100, 100, 80), face(505, 100, 60)], [face(510, 90, 60)]]
    assert number_tracks(frames) == [[0], [1, 0], [0]]
    assert number_tracks([]) == []


def test_one_frame_keeps_its_largest() -> None:
    assert select_detections([[face(0, 0, 10), face(100, 0, 30)]]) == [[1]]
    assert select_detections([[]]) == [[]]


def test_iou_of_identical_overlapping_and_disjoint_boxes() -> None:
    assert iou(face(0, 0, 10), face(0, 0, 10)) == 1.0
    assert iou(face(0, 0, 10), Face(5, 0, 10, 10, 1.0)) == 50 / 150
    assert iou(face(0, 0, 10), face(10, 10, 10)) == 0.0

"""Trees with the real names of the data sets that `extract` reads."""

import json
from pathlib import Path

#: The clips of each tree: path, whether it is a fake.
FACEFORENSICS = {
    "original_sequences/youtube/c23/videos/000.mp4": False,
    "original_sequences/youtube/c23/videos/003.mp4": False,
    "original_sequences/actors/c23/videos/01__hugging_happy.mp4": False,
    "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4": True,
    "manipulated_sequences/NeuralTextures/c23/videos/000_003.mp4": True,
    "manipulated_sequences/FaceShifter/c23/videos/003_000.mp4": True,
    "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__hugging_happy__YVGY8LOK.mp4": True,
}
CELEB_DF = {
    "Celeb-real/id0_0000.mp4": False,
    "Celeb-real/id1_0007.mp4": False,
    "YouTube-real/00170.mp4": False,
    "Celeb-synthesis/id0_id1_0000.mp4": True,
    "Celeb-synthesis/id1_id0_0007.mp4": True,
}
PREVIEW = {
    "original_videos/1003254/1003254_A_001.mp4": False,
    "method_A/1003254/1003254_A/1255229_1003254_A_001.mp4": True,
    "method_B/1003254/1003254_A/1255229_1003254_A_001.mp4": True,
}
TEST_LIST = "List_of_testing_videos.txt"


def make_tree(root: Path, names: dict[str, bool], real: Path | None, fake: Path | None) -> Path:
    """Make files of these names: links to a real and a fake clip, or one byte each."""
    for name, is_fake in names.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        target = fake if is_fake else real
        if target is None:
            path.write_bytes(b"x")
        else:
            path.symlink_to(target.resolve())
    return root


def make_faceforensics(root: Path, real: Path | None = None, fake: Path | None = None) -> Path:
    """FaceForensics++ with one pair in the training list, and actors, which no list names."""
    make_tree(root, FACEFORENSICS, real, fake)
    for name, pairs in (("train", [["000", "003"]]), ("val", []), ("test", [["001", "002"]])):
        (root / f"{name}.json").write_text(json.dumps(pairs))
    return root


def make_celeb_df(root: Path, real: Path | None = None, fake: Path | None = None) -> Path:
    """Celeb-DF with three tests."""
    make_tree(root, CELEB_DF, real, fake)
    tests = ["1 YouTube-real/00170.mp4", "1 Celeb-real/id1_0007.mp4"]
    tests.append("0 Celeb-synthesis/id0_id1_0000.mp4")
    (root / TEST_LIST).write_text("\n".join(tests) + "\n")
    return root


def make_preview(root: Path, real: Path | None = None, fake: Path | None = None) -> Path:
    """DFDC's preview: one original, a fake by each method."""
    make_tree(root, PREVIEW, real, fake)
    entries = {
        name: {"label": "fake" if is_fake else "real", "set": "test", "augmentations": []}
        for name, is_fake in PREVIEW.items()
    }
    (root / "dataset.json").write_text(json.dumps(entries))
    return root


def make_flat(root: Path, real: Path | None = None, fake: Path | None = None) -> Path:
    """DFDC's test set: two clips, and one that is not there."""
    make_tree(root, {"aaa.mp4": False, "bbb.mp4": True}, real, fake)
    (root / "labels.csv").write_text("filename,label\naaa.mp4,0\nbbb.mp4,1\nccc.mp4,1\n")
    return root


def make_table(root: Path, real: Path | None = None, fake: Path | None = None) -> Path:
    """A set of folders with a table; a byte order mark and spaces are usual."""
    make_tree(root, {"wild/a.mp4": False, "swapped/x/a.mp4": True}, real, fake)
    (root / "clips.csv").write_text(
        "\ufeffPath, Label,original,identity,face_identity,method,split,dataset\n"
        "wild/a.mp4, real,,ann,,,train,wild\n"
        "swapped/x/a.mp4,1,wild/a.mp4,ann,bob,roop,val,wild\n",
        "utf-8",
    )
    return root

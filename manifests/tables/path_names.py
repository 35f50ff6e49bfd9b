"""What names of folders and images say: words of the field, numbers, names of published sets.

The patterns are RE2, which takes linear time whatever the name.
"""

import pyarrow as pa
import pyarrow.compute as pc

from manifests.labels import FAKE_WORDS, REAL_WORDS

#: Names of splits, in lower case.
SPLITS = ("train", "training", "trn", "val", "valid", "validation", "dev", "test", "testing")
#: Words for what an image or a file is; with a number they name no clip.
_THINGS = (
    "frame", "frm", "image", "img", "face", "crop", "picture", "pic", "photo", "png", "jpg",
    "jpeg", "video", "clip", "vid", "data", "dataset", "sequence", "extracted", "aligned",
    "cropped", "vs", "and", "c23", "c40", "raw", "mask",
)  # fmt: skip
#: Sources and methods of published sets: folders of many clips or images.
_METHODS = (
    "face2face", "faceswap", "faceshifter", "neuraltexture", "deepfakedetection", "youtube",
    "actor", "celeb", "celeb[-_]?df(?:[-_]?v[12])?", "dfdc", "faceforensics", "kaggle", "ffhq",
    "celeba", "celebahq", "hq", "lsun", "vggface", "vggface2", "imagenet", "stylegan", "stylegan2",
    "stylegan3", "progan", "pggan", "stargan", "biggan", "cyclegan", "gaugan", "attgan", "glow",
    "adm", "ldm", "ddpm", "diffusion", "sd", "dalle", "midjourney", "glide", "inpainting",
    "insight", "text2img",
)  # fmt: skip
_WORD = "(?:" + "|".join((*SPLITS, *REAL_WORDS, *FAKE_WORDS, *_THINGS, *_METHODS)) + ")s?"
_GAP = r"[-_ .+()]*"
#: Only words and numbers: frame12, real_0, 000000_0.
NUMBERED = rf"(?i)^{_GAP}(?:(?:{_WORD}|\d+){_GAP})+$"
#: Folders that hold many clips: words without a number, classes such as 0_real, parts.
CATEGORY = (
    rf"(?i)^(?:[01][-_])?(?:{_WORD}{_GAP})+$"
    r"|(?i)^(?:dfdc_train_)?(?:part|batch|chunk|fold|set|group|folder|shard)s?[-_ ]?\d+$"
)
#: Folders inside that of a clip.
INNER = r"(?i)(?:(?:^|/)(?:frames?|images?|imgs?|faces?|crops?))+$"
#: Two numbers, of a clip and of a frame.
TWO_NUMBERS = r"^[^0-9]*\d+[-_]+(?:[a-z]+[-_]?)?\d+$"
#: Names of fakes and of originals in FaceForensics++, before the number of a frame; and folders
#: that show that it is FaceForensics++, because three digits alone may be anything.
FACEFORENSICS = (r"^(?P<clip>\d{3}_\d{3})(?:[-_ .].*)?$", r"^(?P<clip>\d{3})(?:[-_ .].*)?$")
FACEFORENSICS_FOLDER = (
    r"(?i)(?:^|/)(?:deepfakes|face2face|faceswap|faceshifter|neuraltextures)(?:/|$)"
)
#: Names of Celeb-DF, id0_0000 and id0_id1_0000.
CELEB_DF = r"^(?P<clip>id\d+(?:_id\d+)?_\d{4})(?:[-_ .].*)?$"
#: Names of DFDC: a fake and its original.
DFDC_FAKE = r"^(?P<clip>[a-z]{10})_[a-z]{10}$"
#: A fake and what may be its original.
FAKE_AND_ORIGINAL = r"^(?P<fake>.+)_(?P<original>[^_]+)$"
#: The number of a frame, and of a face in it, behind the name of a clip.
_FRAME_NUMBER = (
    r"(?i)(.)[-_ .]+(?:frame|frm|img|image|crop|face)s?[-_ .]*\d+(?:[-_ .]+[a-z]*[-_]?\d+)*$"
)
_LAST_NUMBER = r"(.)[-_ .]+\d+$"


#: Words for a label, within a longer name too.
LABEL_WORD = "(?i)" + "|".join((*REAL_WORDS, *FAKE_WORDS))


def with_slashes(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """Paths with / between names, string [rows]."""
    if not pc.any(pc.match_substring(paths, "\\")).as_py():
        return paths
    return pc.replace_substring(paths, "\\", "/")


def divide(paths: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The folders, which may be empty, and the names of paths with slashes; string [rows] each."""
    bare = pc.invert(pc.match_substring(paths, "/"))
    if pc.any(bare).as_py():
        paths = pc.if_else(bare, pc.binary_join_element_wise("", paths, "/"), paths)
    halves = pc.split_pattern(paths, "/", max_splits=1, reverse=True)
    return pc.list_element(halves, 0), pc.list_element(halves, 1)


def find(names: pa.Array, pattern: str) -> pa.Array:
    """What the group `clip` of a pattern finds in each name, string [names]; null if nothing."""
    if not pc.any(pc.match_substring_regex(names, pattern)).as_py():  # far cheaper than groups
        return pa.nulls(len(names), pa.string())
    return pc.struct_field(pc.extract_regex(names, pattern), "clip")


def without_number(stems: pa.Array) -> pa.Array:
    """Names without the number of a frame: `abc` of `abc_12` and of `abc_frame_12_face_0`."""
    cut = pc.replace_substring_regex(stems, _FRAME_NUMBER, r"\1")
    bare = pc.replace_substring_regex(stems, _LAST_NUMBER, r"\1")
    cut = pc.if_else(pc.equal(cut, stems), bare, cut)
    # real_0: what is left would be no name.
    only_words = pc.match_substring_regex(cut, NUMBERED)
    only_words = pc.and_(only_words, pc.invert(pc.match_substring_regex(cut, r"\d")))
    return pc.if_else(only_words, stems, cut)


def originals(fakes: pa.Array, reals: pa.Array) -> pa.Array:
    """The originals that names of fakes end in, string [fakes]; null where they do not."""
    # DFDC's names show it by their form, others by the second name alone being that of a REAL clip.
    halves = pc.extract_regex(fakes, FAKE_AND_ORIGINAL)
    first, second = pc.struct_field(halves, "fake"), pc.struct_field(halves, "original")
    known = pc.and_(pc.is_in(second, reals), pc.invert(pc.is_in(first, reals)))
    known = pc.or_(known, pc.match_substring_regex(fakes, DFDC_FAKE))
    return pc.if_else(known, second, pa.scalar(None, pa.string()))

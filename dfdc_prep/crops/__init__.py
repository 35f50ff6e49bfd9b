"""Cutting face crops out of frames, and reading crop files."""

#: Default side of a crop and required side of a crop in a shard, pixels. It is the input size of
#: the model, and it is defined here so that reading crops does not import OpenCV and FFmpeg.
CROP_SIZE = 224
#: End of the name of a mask's file, which lies beside its crop.
MASK_SUFFIX = ".mask.png"

"""Cutting face crops out of frames, and reading crop files."""

#: End of the name of a mask's file, which lies beside its crop.
MASK_SUFFIX = ".mask.png"

"""Pictures that show the same or nearly the same."""

#: As many pixels as an 8K frame has; pictures and frames with more are refused.
MAX_PIXELS = 7680 * 4320

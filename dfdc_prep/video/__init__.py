"""Opening clips, choosing frames and decoding exactly those."""

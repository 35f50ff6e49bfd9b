"""Opening clips, choosing frames, and decoding only the packets that those frames need."""

"""Models that other people trained, read from their files without running code from them."""

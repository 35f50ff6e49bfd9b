"""Which faces of a fake were forged, and where: its crops compared with those of its original."""

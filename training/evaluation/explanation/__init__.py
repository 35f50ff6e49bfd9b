"""Why a model decides as it does: heatmaps, where they lie, and its worst mistakes."""

"""Harm done on purpose to every command; `scripts/torture` runs it, `docs/failures.md` tells more."""

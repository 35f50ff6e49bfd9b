"""Harm done on purpose to every command; `docs/failures.md` says what each looks like."""

"""Fault injection for every command; `docs/failures.md` describes each fault."""

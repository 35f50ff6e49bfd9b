"""Exports of the split crops in the formats of other tools."""

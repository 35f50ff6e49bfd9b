"""Crops written as shards and as exports, checked, and imported."""

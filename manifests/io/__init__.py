"""Atomic writing of files and folders, JSON files, journals, and file locks."""

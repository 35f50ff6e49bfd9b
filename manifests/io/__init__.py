"""Atomic writing of files and folders, JSON files, and file locks."""

"""Measuring leaks between splits, and summarizing a table."""

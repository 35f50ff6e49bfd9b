"""The clips of a data set on disk and the families they form."""

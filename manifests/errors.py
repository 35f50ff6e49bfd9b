"""The root of the project's exceptions, and the branches that speak of tables and output.

It lies here because `manifests` is the lowest room; the whole tree is drawn in
`dfdc_prep.errors`.
"""


class DfdcPrepError(Exception):
    """Whatever a user can mend. Its text is one sentence: expected, found, what to do next."""


class OutputError(DfdcPrepError):
    """The output cannot be written, or another run is writing it."""


class TableError(DfdcPrepError):
    """A manifest, clip log or CSV is missing, empty, or has the wrong columns or values."""


class NotEnoughRows(TableError):
    """A class has fewer rows than were asked for by name."""

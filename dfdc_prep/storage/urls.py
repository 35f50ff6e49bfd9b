"""URLs of buckets, recognised once at the command line and in the API.

A URL names a place but never carries credentials: those come from the environment or from the
files of the provider's own tools, so that no record, log or message can contain them.
"""

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

#: The package that reads each scheme, and the extra of this project that installs it.
_BACKENDS = {
    "s3": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "az": ("adlfs", "azure"),
    "hf": ("huggingface_hub", "hf"),
}
#: Schemes that this project only reads.
READ_ONLY = frozenset({"hf"})
#: "s3://bucket/key"; also "s3:/bucket/key", which `pathlib.Path` makes of it.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(//?)(.*)", re.DOTALL)

#: File name suffixes of the formats in which tables are written.
TABLE_SUFFIXES = (".csv", ".parquet")
#: File name suffixes of a page.
PAGE_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Url:
    """A folder or an object in a bucket, without a trailing slash: "s3://bucket/faces"."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> "Url":
        return Url(f"{self.text}/{name}")

    @property
    def scheme(self) -> str:
        """The scheme: "s3"."""
        return self.text.partition("://")[0]

    @property
    def name(self) -> str:
        """The last component: "faces"."""
        return self.text.rpartition("/")[2]

    @property
    def parent(self) -> "Url":
        """The URL without the last component."""
        return Url(self.text.rpartition("/")[0])

    @property
    def suffix(self) -> str:
        """The extension of the name: ".csv"."""
        return os.path.splitext(self.name)[1]


#: What a command accepts where data can be on a disk or in a bucket.
Location = Path | Url


def as_location(value: "str | os.PathLike[str] | Url") -> Location:
    """Return the path or the URL that was given.

    Raises:
        ValueError: as `parse_url`.
    """
    if isinstance(value, Url):
        return value
    text = os.fspath(value)
    return parse_url(text) if is_url(text) else Path(text)


def is_folder(location: Location) -> bool:
    """Whether a path is a folder; of a URL, whether its name is not that of a table or a page."""
    if isinstance(location, Path):
        return location.is_dir()
    return location.suffix not in (*TABLE_SUFFIXES, *PAGE_SUFFIXES)


def is_url(text: str) -> bool:
    """Whether a text looks like a URL rather than a path."""
    return _URL.fullmatch(text) is not None


def parse_url(text: str) -> Url:
    """Check a URL.

    Raises:
        ValueError: the scheme is unknown, its package is not installed, or the URL names no
            bucket, has credentials, a query or a fragment. The message does not repeat them.
    """
    match = _URL.fullmatch(text)
    scheme, slashes, rest = match.groups() if match else ("", "", "")
    scheme = scheme.lower()
    if scheme not in _BACKENDS:
        known = ", ".join(f"{name}://" for name in _BACKENDS)
        raise ValueError(
            f"expected a path or a URL that starts with {known}, found {scheme}://; give one of "
            "these."
        )
    if slashes != "//":
        raise ValueError(
            f"expected {scheme}://BUCKET/NAME, found {scheme}:/ with one slash; write two (in "
            "Python, give the URL as text: a path object drops one)."
        )
    if "@" in rest.partition("/")[0]:
        raise ValueError(
            f"expected a URL {scheme}://… without a user name and password, found one that has "
            "them; give credentials through environment variables or the provider's own files."
        )
    if "?" in rest or "#" in rest:
        raise ValueError(
            f"expected a URL {scheme}://… without a query, such as a signature, found one; give "
            "credentials through environment variables or the provider's own files."
        )
    parts = rest.rstrip("/").split("/")
    if not all(parts) or {".", ".."} & set(parts) or not all(part.isprintable() for part in parts):
        raise ValueError(
            f"expected {scheme}://BUCKET/NAME with plain names, found {f'{scheme}://{rest}'!a}; "
            "give the name of a bucket, and below it names other than . and .."
        )
    package, extra = _BACKENDS[scheme]
    if find_spec(package) is None:
        raise ValueError(
            f"expected the package {package}, which reads {scheme}:// URLs, found it not "
            f"installed; run pip install 'dfdc-prep[{extra}]'."
        )
    return Url(f"{scheme}://{'/'.join(parts)}")

"""Decides which requests the app answers."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

#: A `Host` header: a name or an IPv4 address, or an IPv6 address in brackets; perhaps a port.
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d+)?")


@dataclass(frozen=True)
class Access:
    """Who may use the app.

    Attributes:
        hosts: names that requests may address, without ports; `.example.org` stands for all
            names that end with it. Others are refused, so that no page elsewhere can reach the
            app under a name of its own (DNS rebinding).
        embedder: origin of the page that may show the app in a frame, if any.
    """

    hosts: tuple[str, ...]
    embedder: str | None = None

    def allows_host(self, header: str) -> bool:
        """Whether the `Host` header of a request names one of the hosts."""
        found = _HOST.fullmatch(header)
        if not found:
            return False
        name = (found["ipv6"] or found["name"]).lower()
        return any(
            name.endswith(host) if host.startswith(".") else name == host
            for host in (allowed.lower() for allowed in self.hosts)
        )

    def policy(self) -> str:
        """The content security policy: nothing that the pages do not need."""
        framed_by = self.embedder or "'none'"
        return (
            "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; "
            f"frame-ancestors {framed_by}"
        )


def is_cross_site(headers: Headers) -> bool:
    """Whether a form of another site sent the request, as far as its browser says."""
    if site := headers.get("Sec-Fetch-Site"):
        return site not in ("same-origin", "none")
    origin = headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("Host")

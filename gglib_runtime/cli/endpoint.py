"""How a client of this machine reaches the public endpoint: over TCP or a unix socket, and TLS.

Not here: the private socket, over which commands speak to the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gglib_runtime.cli.failures import CommandFailed

if TYPE_CHECKING:
    import ssl

    import httpx

_LIVE_SECONDS = 10.0
_UNIX = "+unix://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server's public address."""

    url: str
    """As the server says it, without a path."""
    certificate: Path | None = None
    """What has to be trusted, where it speaks TLS."""
    needs_key: bool = False
    """Whether requests need an API key."""

    @property
    def socket_path(self) -> str | None:
        """The unix socket to connect to, if it is one."""
        return unquote(self.url.partition(_UNIX)[2]) or None

    @property
    def base_url(self) -> str:
        """What a client takes for the server's URL; over a unix socket the host may be any."""
        return f"{self.url.partition(_UNIX)[0]}://localhost" if self.socket_path else self.url

    def open_client(self, timeout: httpx.Timeout) -> httpx.Client:
        """A client that believes this server's certificate and no other. Raises CommandFailed."""
        import httpx

        verify = self._trusted()
        return httpx.Client(
            base_url=self.base_url,
            timeout=timeout,
            trust_env=False,
            transport=httpx.HTTPTransport(uds=self.socket_path, verify=verify, trust_env=False),
        )

    def is_open(self) -> bool:
        """Whether it still takes requests."""
        import httpx

        try:
            with self.open_client(httpx.Timeout(_LIVE_SECONDS)) as client:
                return client.get("/live").is_success
        except (httpx.HTTPError, CommandFailed):
            return False

    def _trusted(self) -> ssl.SSLContext | bool:
        if self.certificate is None:
            return True
        from gglib_runtime.tls import trusting

        try:
            return trusting(self.certificate)
        except (OSError, ValueError) as error:
            raise CommandFailed(f"{self.certificate} cannot be read: {error}") from error

"""Certificates for tests: an authority, what it has issued to a server, and to a client."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trustme

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Certificates"]


@dataclass(frozen=True)
class Certificates:
    """
    PEM files.

    Attributes:
        ca: Of the authority.
        server: Of a server on this machine, its key too.
        server_key: The key alone.
        client: Of a client, its key too.
    """

    ca: Path
    server: Path
    server_key: Path
    client: Path

    @classmethod
    def issue(cls, folder: Path) -> Certificates:
        """Make an authority, and let it issue what there is."""
        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1", "::1", "localhost")
        client = authority.issue_cert("prometheus@shop.example")
        files = cls(*(folder / name for name in ("ca.pem", "server.pem", "server.key", "client.pem")))
        authority.cert_pem.write_to_path(str(files.ca))
        server.private_key_and_cert_chain_pem.write_to_path(str(files.server))
        server.private_key_pem.write_to_path(str(files.server_key))
        client.private_key_and_cert_chain_pem.write_to_path(str(files.client))
        return files

    def client_context(self, *, with_certificate: bool = False) -> ssl.SSLContext:
        """Return what a client connects with that trusts the authority."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if with_certificate:
            context.load_cert_chain(self.client)
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Issue certificates, once for all tests."""
    return Certificates.issue(tmp_path_factory.mktemp("certificates"))

"""Certificates that servers of these tests show."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Authority:
    """An authority that clients trust by the file `cafile`."""

    ca: trustme.CA
    cafile: Path

    def server(self, *names: str, days: float = 90.0) -> ssl.SSLContext:
        """Return what a server for *names* shows: a certificate with *days* left."""
        now = datetime.now(UTC)
        certificate = self.ca.issue_cert(
            *(names or ("127.0.0.1",)),
            not_before=now - timedelta(days=100),
            not_after=now + timedelta(days=days),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority, once for all tests."""
    ca = trustme.CA()
    cafile = tmp_path_factory.mktemp("authority") / "ca.pem"
    ca.cert_pem.write_to_path(str(cafile))
    return Authority(ca, cafile)

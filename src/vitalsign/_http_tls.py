"""The certificates of a server of ours."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitalsign.exceptions import CertificateError, EndpointOptionError
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Certificates", "File", "certificates"]

File = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Files:
    """
    PEM files that a server needs for TLS.

    Attributes:
        certfile: Its certificate, and those that lead to its authority.
        keyfile: Its private key; None if that stands in the same file.
        client_cafile: Authorities; clients need a certificate of one of these. None asks for none.
    """

    certfile: File
    keyfile: File | None
    client_cafile: File | None

    def times(self) -> list[int]:
        """Return when each was written last."""
        files = (self.certfile, self.keyfile, self.client_cafile)
        return [Path(file).stat().st_mtime_ns for file in files if file is not None]


class Certificates:
    """
    What TLS connections are made with; read anew when a file has changed, as when a certificate is renewed.

    Args:
        files: Where it stands.

    Raises:
        CertificateError: A file cannot be used.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._context = _read(files)
        self._times: list[int] = []  # not looked at yet: what is written just now must not be missed

    def context(self) -> ssl.SSLContext:
        """Return it for the next connection; where the new files cannot be used, those before them count."""
        try:
            times = self._files.times()
            if times != self._times:
                self._context = _read(self._files)
                self._times = times
        except OSError as error:
            internal_error("exporter.certificates", error)
        return self._context


def certificates(certfile: File | None, keyfile: File | None, client_cafile: File | None) -> Certificates | None:
    """
    Return what TLS connections are made with; None where there is to be no TLS.

    Raises:
        EndpointOptionError: A file is given without the certificate that it needs.
        CertificateError: A file cannot be used.
    """
    if certfile is not None:
        return Certificates(Files(certfile, keyfile, client_cafile))
    for option, file in (("keyfile", keyfile), ("client_cafile", client_cafile)):
        if file is not None:
            raise EndpointOptionError(f"{option}= is of no use without TLS. Give certfile= too, or leave it out.")
    return None


def _read(files: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load(
        "certfile", files.certfile, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations
    )  # tells it from the key
    option, file = ("certfile", files.certfile) if files.keyfile is None else ("keyfile", files.keyfile)
    _load(option, file, lambda path: context.load_cert_chain(files.certfile, path, password=_no_password))
    if files.client_cafile is not None:
        _load("client_cafile", files.client_cafile, context.load_verify_locations)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load(option: str, file: File, load: Callable[[File], object]) -> None:
    path = os.fspath(file)
    try:
        load(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise CertificateError(
            f"The exporter cannot use {option}={path!r}: {reason}. It needs a PEM file that this user may read, and a "
            "private key that is not encrypted and belongs to the certificate.",
            path=path,
        ) from error


def _no_password() -> str:
    raise ValueError("the private key is encrypted")  # unasked, OpenSSL would ask for its password on the terminal

"""The exporter over TLS: certificates of the server, of clients, and what is wrong with them."""

from __future__ import annotations

import os
import ssl
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from tests.certificates import Certificates
from tests.servers import free_port
from tests.unit.exporter.clients import ask, connect, read_all
from vitalsign.exceptions import CertificateError, EndpointOptionError
from vitalsign.exporter import start_exporter

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("key_apart", [False, True], ids=["one file", "key apart"])
def test_tls(key_apart, start, certificates):
    """With a certificate the page is served over TLS, and nothing without."""
    exporter = start(certfile=certificates.server, keyfile=certificates.server_key if key_apart else None)
    assert exporter.url == f"https://127.0.0.1:{exporter.port}/metrics"
    assert b"shop_orders_total 1.0\n" in ask(exporter, context=certificates.client_context()).body
    with connect(exporter, b"GET /metrics HTTP/1.0\r\n\r\n") as plain:
        assert b"shop_orders" not in read_all(plain)
    assert ask(exporter, context=certificates.client_context()).status == 200


def test_big_page_over_tls(start, certificates, orders, registry):
    """A page that no buffer holds arrives whole."""
    registry.unregister(orders)
    big = type(orders)("shop_big", "x" * 8_000_000, registry=registry)
    big.inc(7)
    exporter = start(certfile=certificates.server)
    answer = ask(exporter, context=certificates.client_context())
    assert answer.headers["content-length"] == str(len(answer.body))
    assert b"shop_big_total 7.0\n" in answer.body


def test_client_certificates(start, certificates, tmp_path):
    """Where clients need a certificate, those without one, or with one of another authority, see nothing."""
    exporter = start(certfile=certificates.server, client_cafile=certificates.ca)
    assert ask(exporter, context=certificates.client_context(with_certificate=True)).status == 200
    stranger = certificates.client_context()
    stranger.load_cert_chain(Certificates.issue(tmp_path).client)
    for context in (certificates.client_context(), stranger):
        with pytest.raises(OSError, match=r"(?i)certificate|unknown ca|closed|reset|eof"):
            ask(exporter, context=context)


def test_token_over_tls(start, certificates):
    """TLS and token go together."""
    exporter = start(certfile=certificates.server, token="s3cret")
    context = certificates.client_context()
    assert ask(exporter, context=context).status == 401
    assert ask(exporter, context=context, Authorization="Bearer s3cret").status == 200


def test_old_tls_is_refused(start, certificates):
    """Nothing older than TLS 1.2 is spoken."""
    exporter = start(certfile=certificates.server)
    context = certificates.client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        ask(exporter, context=context)


def test_200_slow_handshakes(start, certificates):
    """Beside 200 connections that never finish their handshake, a scrape over TLS is answered."""
    exporter = start(certfile=certificates.server)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(exporter, hello[: number % 12])) for number in range(200)]
        assert ask(exporter, context=certificates.client_context()).status == 200
        for client in slow[1::40]:
            client.settimeout(0)
            with pytest.raises(BlockingIOError):
                client.recv(1)


def test_time_for_the_handshake(start, certificates, monkeypatch):
    """A handshake that is not finished in time is given up."""
    monkeypatch.setattr("vitalsign._http_server._SECONDS_TO_ASK", 0.2)
    with connect(start(certfile=certificates.server), b"\x16\x03\x01") as client:
        assert read_all(client) == b""


def test_close_in_the_middle_of_a_handshake(start, certificates):
    """Closing ends handshakes too."""
    exporter = start(certfile=certificates.server)
    with connect(exporter, b"\x16\x03\x01") as client:
        exporter.close()
        assert read_all(client) == b""
    assert not any(thread.name == f"vitalsign-exporter-{exporter.port}" for thread in threading.enumerate())


def test_renewed_certificate(start, certificates, tmp_path):
    """A certificate that is renewed counts from the next connection on; until the files fit, the old one does."""
    mine, renewed = Certificates.issue(tmp_path), certificates
    exporter = start(certfile=mine.server, keyfile=mine.server_key)
    old, new = mine.client_context(), renewed.client_context()
    assert ask(exporter, context=old).status == 200
    replace(mine.server, renewed.server, seconds=1)
    assert ask(exporter, context=old).status == 200
    mine.server.unlink()
    assert ask(exporter, context=old).status == 200
    replace(mine.server, renewed.server, seconds=2)
    replace(mine.server_key, renewed.server_key, seconds=2)
    assert ask(exporter, context=new).status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(exporter, context=old)


def replace(path: Path, source: Path, *, seconds: int) -> None:
    """Put the content of *source* in the place of *path*, so many seconds after the epoch."""
    path.write_bytes(source.read_bytes())
    os.utime(path, (seconds, seconds))


@pytest.mark.parametrize("option", ["keyfile", "client_cafile"])
def test_option_without_its_certificate(option, certificates):
    """A key, or an authority of clients, without a certificate of the server would be no protection: an error."""
    with pytest.raises(EndpointOptionError, match=f"{option}= is of no use without TLS"):
        start_exporter(port=0, **{option: certificates.ca})


@pytest.mark.parametrize("option", ["certfile", "keyfile", "client_cafile"])
@pytest.mark.parametrize("kind", ["missing", "empty", "junk", "folder"])
def test_file_that_cannot_be_used(option, kind, certificates, tmp_path):
    """A file that is missing or no PEM is named, with its option, and no port is taken."""
    port, path = free_port(), tmp_path / "some.pem"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else bytes(range(256)))
    files = {"certfile": certificates.server, option: path}
    with pytest.raises(CertificateError) as caught:
        start_exporter(port=port, **files)
    assert str(path) in str(caught.value)
    assert f"{option}=" in str(caught.value)
    assert caught.value.path == str(path)
    connect_refused(port)


def connect_refused(port: int) -> None:
    """Make sure that nobody listens on a port."""
    with start_exporter(port=port):
        pass


def test_encrypted_key(certificates, tmp_path):
    """An encrypted key is an error, and nobody is asked for its password on the terminal."""
    key = serialization.load_pem_private_key(certificates.server_key.read_bytes(), password=None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"s3cret"),
        )
    )
    with pytest.raises(CertificateError, match="key is encrypted"):
        start_exporter(port=0, certfile=certificates.server, keyfile=encrypted)


def test_key_of_another_certificate(certificates, tmp_path):
    """A key that does not belong to the certificate is an error at start, not at the first handshake."""
    other = Certificates.issue(tmp_path)
    with pytest.raises(CertificateError, match=r"(?i)mismatch"):
        start_exporter(port=0, certfile=certificates.server, keyfile=other.server_key)

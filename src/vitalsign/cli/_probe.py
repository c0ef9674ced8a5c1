"""One HTTP request to a service that may be down, hang, or be something else; by the standard library alone."""

from __future__ import annotations

import os
import socket
import ssl
import time
from argparse import ArgumentTypeError
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection, RemoteDisconnected
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from argparse import ArgumentParser

__all__ = ["TOKEN_VARIABLE", "Answer", "Probe", "Unanswered", "add_connection_options", "parse_url", "printable"]

TOKEN_VARIABLE = "VITALSIGN_HEALTH_TOKEN"  # noqa: S105  # the name of a variable

_LONGEST_BODY = 1_048_576  # bytes


class Unanswered(Exception):  # noqa: N818  # what has happened, not what is wrong here
    """
    There was no answer; the text says why.

    Attributes:
        is_final: Whether it would be the same a moment later.
    """

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


@dataclass(frozen=True)
class Answer:
    """
    What came back.

    Attributes:
        status: Status code.
        location: Where it redirects to, or empty.
        body: At most 1 MiB.
        seconds: From the attempt to connect on.
    """

    status: int
    location: str
    body: bytes
    seconds: float


@dataclass(frozen=True)
class Probe:
    """
    What to ask.

    Attributes:
        url: Where.
        token: Sent as a bearer token; empty for none.
        cafile: Authorities that a server's certificate may be of; None for those of the system.
        method: By which method.
    """

    url: SplitResult
    token: str = field(default="", repr=False)
    cafile: str | None = None
    method: str = "GET"

    def ask(self, timeout: float) -> Answer:
        """
        Ask once, past any proxy.

        Args:
            timeout: Seconds for all of it: name, connection, answer.

        Raises:
            Unanswered: There is no answer, or not in time.
        """
        outcome: SimpleQueue[Answer | Unanswered] = SimpleQueue()
        # A name server that hangs cannot be interrupted, and a server that sends byte after byte has no timeout.
        Thread(target=self._ask_into, args=(outcome, timeout), daemon=True).start()
        try:
            answer = outcome.get(timeout=timeout)
        except Empty:
            raise Unanswered(f"no answer within {timeout:g} s") from None
        if isinstance(answer, Unanswered):
            raise answer
        return answer

    def _ask_into(self, outcome: SimpleQueue[Answer | Unanswered], timeout: float) -> None:
        try:
            outcome.put(self._ask(timeout))
        except (OSError, HTTPException, ValueError) as error:
            outcome.put(_explained(error, self.url, timeout))

    def _ask(self, timeout: float) -> Answer:
        began = time.monotonic()
        connection = self._connection(timeout)
        headers: dict[str, str | bytes] = {"Accept": "application/json", "User-Agent": "vitalsign"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}".encode()
        target = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
        try:
            connection.request(self.method, target, headers=headers)
            response = connection.getresponse()
            body = response.read(_LONGEST_BODY)
        finally:
            connection.close()
        return Answer(response.status, response.getheader("Location", ""), body, time.monotonic() - began)

    def _connection(self, timeout: float) -> HTTPConnection:
        host = self.url.hostname or ""
        if self.url.scheme == "http":
            return HTTPConnection(host, self.url.port or 80, timeout=timeout)
        context = ssl.create_default_context(cafile=self.cafile)
        return HTTPSConnection(host, self.url.port or 443, timeout=timeout, context=context)


def add_connection_options(parser: ArgumentParser) -> None:
    """Add what every command needs that asks a service."""
    parser.add_argument(
        "--token",
        type=_parse_token,
        default=os.environ.get(TOKEN_VARIABLE, ""),
        help=f"bearer token; better in the variable {TOKEN_VARIABLE}, since others can see a command line",
    )
    parser.add_argument("--cafile", metavar="FILE", type=_parse_cafile, help="authorities to trust, for https (PEM)")


def parse_url(text: str) -> SplitResult:
    """
    Split a URL that can be asked.

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        parts = urlsplit(text)
        is_askable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port, or the brackets of an IPv6 address
        is_askable = False
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ArgumentTypeError("the URL carries credentials, which others could see. Send a token.")
    if not is_askable or not text.isprintable() or not text.isascii() or " " in text:
        raise ArgumentTypeError(f"{text!r} is no URL that can be asked. Give one such as http://127.0.0.1:8000/ready.")
    return parts


def printable(text: object) -> str:
    """Return what somebody else says, on one line and without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(str(text).split()))


def _parse_token(token: str) -> str:
    if not token.strip().isprintable():
        raise ArgumentTypeError("the token holds what cannot be sent, such as a line break.")
    return token.strip()


def _parse_cafile(path: str) -> str:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ArgumentTypeError(f"{path!r} is no file of certificates: {error.strerror or error}.") from error
    return path


def _explained(error: Exception, url: SplitResult, timeout: float) -> Unanswered:
    """Say what *error* means for somebody who wanted to know how a service is."""
    if isinstance(error, socket.gaierror):
        return Unanswered(f"there is no host {url.hostname!r} ({error.strerror})")
    if isinstance(error, ConnectionRefusedError):
        return Unanswered("the connection is refused: nothing listens there")
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"its certificate is not trusted ({printable(error.verify_message)}); --cafile names who is"
        return Unanswered(reason, is_final=True)
    if isinstance(error, ssl.SSLError):
        return Unanswered(f"it does not speak TLS as we do ({printable(error.reason or error)}); is it http?")
    if isinstance(error, RemoteDisconnected):
        return Unanswered("it closed the connection without an answer")
    if isinstance(error, TimeoutError):
        return Unanswered(f"no answer within {timeout:g} s")
    if isinstance(error, OSError):
        return Unanswered(printable(error.strerror or error))
    return Unanswered(f"its answer is not HTTP ({type(error).__name__})")

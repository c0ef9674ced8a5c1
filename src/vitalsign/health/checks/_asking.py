"""Ask an HTTP server one thing, and judge its answer: by the standard library, or by the host's own httpx client."""

from __future__ import annotations

import inspect
import re
import ssl
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urlsplit

from vitalsign._clock import monotonic
from vitalsign.exceptions import HealthCheckError
from vitalsign.health.checks._certificate import days_left, judge_refusal
from vitalsign.health.checks._dial import Deadline, DeadlineSocket, default_tls_context, dial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from vitalsign.health._check import Result

__all__ = ["Answer", "Question", "check_url", "probe", "sendable", "sendable_headers"]

_LONGEST_BODY = 1_000_000
_UNSENDABLE = re.compile(r"[^\t\x20-\x7e\xa0-\xff]").search


@dataclass(frozen=True, slots=True)
class Question:
    """
    What is asked.

    Attributes:
        url: Of the server and what is on it.
        method: GET, HEAD or another.
        headers: Sent with it.
        secret: What must not be seen of them anywhere, or empty.
    """

    url: SplitResult
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What came.

    Attributes:
        status: Of the response.
        headers: Their names in lower case.
        body: As much of it as was wanted.
        days: Until the server's certificate expires; None if that is not known.
        seconds: That it took.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    days: float | None = None
    seconds: float = 0.0


def probe(
    question: Callable[[], Question],
    judge: Callable[[Answer], Result],
    *,
    client: object = None,
    context: ssl.SSLContext | None = None,
    wants_body: bool = False,
    check: str,
) -> Callable[[float], object]:
    """
    Return the function of a check: it takes a timeout in seconds, asks, and judges the answer.

    Args:
        question: Called for each run.
        judge: Says what the answer means.
        client: An httpx client, to which proxies and TLS are left; an asynchronous one makes a coroutine function.
            None takes the standard library, without proxies.
        context: For TLS, without a client.
        wants_body: Whether to read the body.
        check: Whose function it is, for errors.

    Raises:
        HealthCheckError: It is no such client.
    """
    if client is None:
        return partial(_ask_and_judge, question, judge, context, wants_body)
    request = getattr(client, "request", None)
    if not callable(request) or not hasattr(client, "build_request"):
        raise HealthCheckError(
            f"client= of check {check!r} is {type(client).__name__}, which it cannot ask by. "
            "Give an httpx.Client or httpx.AsyncClient, or None."
        )
    if inspect.iscoroutinefunction(request):
        return partial(_ask_by_async_client, question, judge, request)
    return partial(_ask_by_client, question, judge, request)


def _ask(question: Question, timeout: float, *, context: ssl.SSLContext | None, wants_body: bool = False) -> Answer:
    """
    Ask by the standard library, and return what came within *timeout* seconds.

    Raises:
        ssl.SSLCertVerificationError: The server's certificate was refused.
        OSError: There is no connection, or none any more.
        HTTPException: What came is no HTTP.
    """
    started = monotonic()
    url = question.url
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    with _Line(url, context, Deadline(timeout)) as line:
        line.http.request(question.method, target, headers={"Connection": "close", **question.headers})
        response = line.http.getresponse()
        body = response.read(_LONGEST_BODY) if wants_body else b""
        return Answer(response.status, _lowered(response.getheaders()), body, line.days, monotonic() - started)


class _Line:
    """An open connection, with TLS where the URL says so."""

    def __init__(self, url: SplitResult, context: ssl.SSLContext | None, deadline: Deadline) -> None:
        self._url = url
        self._context = (context or default_tls_context()) if url.scheme == "https" else None
        self._deadline = deadline
        self.days: float | None = None

    def __enter__(self) -> Self:
        host = self._url.hostname or ""
        port = self._url.port or (443 if self._context else 80)
        self.http = HTTPSConnection(host, port, context=self._context) if self._context else HTTPConnection(host, port)
        self._connection = dial(host, port, self._deadline)
        try:
            if self._context is not None:
                self._secure(self._context, host)
        except BaseException:
            self._connection.close()
            raise
        self.http.sock = DeadlineSocket(self._connection, self._deadline)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _secure(self, context: ssl.SSLContext, host: str) -> None:
        self._connection.settimeout(self._deadline.left())
        secured = context.wrap_socket(self._connection, server_hostname=host)
        self._connection = secured
        self.days = days_left(secured)


@contextmanager
def _discreet(question: Question) -> Iterator[None]:
    """Let an exception tell whom it was about, for the log, and the secret never."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while asking {question.url.geturl()}")
        if question.secret and question.secret in "".join(traceback.format_exception(error)):
            raise ConnectionError(f"{type(error).__name__}, whose text holds the secret that was sent") from None
        raise


def check_url(check: str, url: str) -> SplitResult:
    """
    Return the parts of *url*.

    Raises:
        HealthCheckError: It is none that can be asked, or it carries credentials.
    """
    parts = _askable(url)
    if parts is None:
        raise HealthCheckError(
            f"The URL of check {check!r} is none that can be asked. Give one such as 'http://127.0.0.1:8000/health'."
        )
    if "@" in parts.netloc:
        raise HealthCheckError(
            f"The URL of check {check!r} carries credentials, which would end up in logs. Send them by headers=."
        )
    return parts


def sendable_headers(check: str, headers: Mapping[str, str] | None) -> dict[str, str]:
    """
    Return *headers*, for http.client would repeat a value that it cannot send.

    Raises:
        HealthCheckError: One cannot be sent; its value is not shown.
    """
    for name, value in (headers or {}).items():
        if not isinstance(value, str) or _UNSENDABLE(value):
            raise HealthCheckError(
                f"Header {name!r} of check {check!r} has a value that no header can carry. Was all of a file read?"
            )
    return dict(headers or {})


def sendable(check: str, what: str, secret: object) -> str:
    """
    Return *secret* as a header can carry it.

    Raises:
        HealthCheckError: It cannot, or there is none; the secret is not shown.
    """
    text = secret.strip() if isinstance(secret, str) else ""
    if not text:
        raise HealthCheckError(f"The {what} of check {check!r} is empty; is the variable set that it comes from?")
    if not text.isascii() or not text.isprintable():
        raise HealthCheckError(
            f"The {what} of check {check!r} has characters that no header can carry. Was all of a file read for it?"
        )
    return text


def _ask_and_judge(
    question: Callable[[], Question],
    judge: Callable[[Answer], Result],
    context: ssl.SSLContext | None,
    wants_body: bool,
    timeout: float,
) -> Result:
    asked = question()
    try:
        with _discreet(asked):
            answer = _ask(asked, timeout, context=context, wants_body=wants_body)
    except ssl.SSLCertVerificationError as error:
        return judge_refusal(error)
    return judge(answer)


def _ask_by_client(
    question: Callable[[], Question],
    judge: Callable[[Answer], Result],
    request: Callable[..., Any],
    timeout: float,
) -> Result:
    asked, started = question(), monotonic()
    with _discreet(asked):
        response = request(asked.method, asked.url.geturl(), **_settings(asked, timeout))
    return judge(_answer(response, monotonic() - started))


async def _ask_by_async_client(
    question: Callable[[], Question],
    judge: Callable[[Answer], Result],
    request: Callable[..., Any],
    timeout: float,  # noqa: ASYNC109  # the client's own, so that it closes its connection in time
) -> Result:
    asked, started = question(), monotonic()
    with _discreet(asked):
        response = await request(asked.method, asked.url.geturl(), **_settings(asked, timeout))
    return judge(_answer(response, monotonic() - started))


def _settings(question: Question, timeout: float) -> dict[str, Any]:
    return {"headers": question.headers, "timeout": timeout, "follow_redirects": False}


def _answer(response: Any, seconds: float) -> Answer:
    headers = _lowered(response.headers.items())
    return Answer(response.status_code, headers, response.content[:_LONGEST_BODY], seconds=seconds)


def _lowered(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def _askable(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        is_askable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port, or the brackets of an IPv6 address
        return None
    return parts if is_askable else None

"""One HTTP endpoint that takes pushes: who it is told we are, how often it is tried, and what its answers mean."""

from __future__ import annotations

import random
import re
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from vitalsign._clock import wall
from vitalsign.exceptions import PushError, PushOptionError, PushRefusedError
from vitalsign.metrics.patience import ask
from vitalsign.push._credentials import ConnectionOptions, check, credentials, secrets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPResponse

__all__ = ["Endpoint"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0  # seconds between tries
_SHORTEST_TRY = 0.2  # seconds; with less than that left there is no other
_TOLD = 300  # characters of an answer that an error repeats
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*").fullmatch


class Endpoint:
    """
    An address that takes pushes.

    Args:
        url: With http or https; http if it has neither.
        options: How to be let in.

    Attributes:
        shown: The address as it may be logged: without credentials and query.

    Raises:
        PushOptionError: The address or an option makes no sense.
        TypeError: There is no such option.
    """

    def __init__(self, url: str, options: ConnectionOptions) -> None:
        check(options)
        parts = _split(url)
        self._host = parts.netloc.rpartition("@")[2]
        self._scheme, self._path, self._query = parts.scheme, parts.path.rstrip("/"), parts.query
        self.shown = f"{self._scheme}://{self._host}{self._path}"
        headers = {**credentials(parts, options), **(options.get("headers") or {})}
        self._headers = {"User-Agent": "vitalsign", **headers}
        for name, value in self._headers.items():
            if not isinstance(value, str) or not _HEADER_NAME(name) or not _HEADER_VALUE(value):
                raise PushOptionError(
                    f"The header {name!r} cannot be sent: it is no text, or has a line break or a character that HTTP "
                    "does not allow."
                )
        self._secrets = secrets(parts, options, headers.values())
        self._opener = _opener(options.get("tls"))

    def send(
        self, method: str, path: str = "", body: bytes = b"", headers: Mapping[str, str] | None = None, *, until: float
    ) -> None:
        """
        Send a request, and again while the server cannot take it, as long as there is time.

        Args:
            method: HTTP method; the request must do no harm if it arrives twice.
            path: What follows the endpoint's own path.
            body: The body.
            headers: Headers of this request.
            until: When the time is over, by `time.monotonic()`.

        Raises:
            PushRefusedError: The server refuses the request, and would again.
            PushError: The server did not take it in time.
        """
        url = f"{self._scheme}://{self._host}{self._path}{path}" + (f"?{self._query}" if self._query else "")
        request = Request(url, body or None, {**self._headers, **(headers or {})}, method=method)  # noqa: S310
        delivery = _Delivery(self, request, until)
        try:
            ask(f"push to {self.shown}", delivery.run, until)
        except TimeoutError:  # it hangs where no timeout of a socket ends it, as in looking up a name
            pass
        except RuntimeError:  # no more threads are to be had, as at the interpreter's end
            delivery.run()
        if delivery.error is not None or not delivery.is_done:
            raise delivery.error or delivery.given_up()

    def exchange(self, request: Request, timeout: float) -> _Answer:
        """Send *request* once; each wait for the network has *timeout* seconds."""
        response: HTTPResponse = self._opener.open(request, timeout=timeout)
        with response:
            text = b"" if response.status < 300 else response.read(_TOLD)
            named = response.headers
            return _Answer(
                response.status, self._without_secrets(text), named.get("Retry-After", ""), named.get("Location", "")
            )

    def _without_secrets(self, text: bytes) -> str:
        shown = " ".join(text.decode("utf-8", "replace").split())
        for secret in self._secrets:
            shown = shown.replace(secret, "***")
        return shown


class _Answer(NamedTuple):
    status: int
    text: str
    retry_after: str
    location: str


@dataclass
class _Delivery:
    """One request, from its first try to its last."""

    endpoint: Endpoint
    request: Request
    until: float
    tries: int = 0
    last: str = "no answer yet"
    status: int | None = None
    is_done: bool = False
    error: PushError | None = None

    def run(self) -> None:
        """Try until the request is taken or refused, or the time is over; never raise."""
        started = time.monotonic()
        while not self.is_done and self.error is None:
            asked_for = self._try()
            left = self.until - time.monotonic()
            if self.is_done or self.error is not None:
                return
            if left < _SHORTEST_TRY or asked_for > left:
                self.error = self.given_up(time.monotonic() - started, asked_for)
                return
            longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self.tries, 10))
            # Many jobs may wait for the same server: they do not come back at the same moment.
            time.sleep(min(max(asked_for, longest * random.uniform(0.5, 1)), left / 2))  # noqa: S311

    def _try(self) -> float:
        """Send the request once, and return how many seconds the server asks to be left alone."""
        self.tries += 1
        left = self.until - time.monotonic()
        try:
            # A server that hangs may be replaced meanwhile: half of the time is kept for further tries.
            answer = self.endpoint.exchange(self.request, max(left / 2, min(left, 1.0), 0.01))
        except (OSError, HTTPException) as error:
            self._failed(getattr(error, "reason", None) or error)
            return 0.0
        except Exception as error:  # noqa: BLE001  # on its own thread, nobody would hear of it
            self._failed(error, for_good=True)
            return 0.0
        return self._judge(answer)

    def _failed(self, reason: object, *, for_good: bool = False) -> None:
        self.last = str(reason) or type(reason).__name__
        if isinstance(reason, ssl.SSLCertVerificationError) or for_good:
            self.error = PushError(
                f"{self.endpoint.shown} cannot be talked to: {self.last}. Check the address, and tls= for https.",
                destination=self.endpoint.shown,
            )

    def _judge(self, answer: _Answer) -> float:
        self.status = answer.status
        self.last = f"status {answer.status}" + (f": {answer.text}" if answer.text else "")
        self.is_done = 200 <= answer.status < 300
        if self.is_done:
            return 0.0
        if answer.status >= 500 or answer.status in (408, 429):
            return _seconds(answer.retry_after)
        self.error = PushRefusedError(
            f"{self.endpoint.shown} refuses the request with {self.last}. {_advice(answer)}",
            destination=self.endpoint.shown,
            status=answer.status,
        )
        return 0.0

    def given_up(self, took: float | None = None, asked_for: float = 0.0) -> PushError:
        """Return the error about a server that has not taken the request in time."""
        within = "in time" if took is None else f"within {took:.1f} s"
        later = f" It asks to be left alone for {asked_for:.0f} s, which is too long." if asked_for else ""
        return PushError(
            f"{self.endpoint.shown} has not taken the request {within}; tries: {self.tries}, the last ended in "
            f"{self.last}.{later} Is it up, and reachable from here? A longer deadline= waits for it longer.",
            destination=self.endpoint.shown,
            status=self.status,
        )


def _split(url: str) -> SplitResult:
    """
    Take an address apart.

    Raises:
        PushOptionError: It is none; what may be a password in it is not shown.
    """
    if not isinstance(url, str):
        raise PushOptionError(f"The address is {url!r}. Give one such as http://pushgateway:9091; is its variable set?")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        is_address = False
    if not is_address or "@" in parts.path + parts.query + parts.fragment or " " in url or not url.isprintable():
        raise PushOptionError(
            f"{url.rpartition('@')[2]!r} (what stands before an @ is not shown) is no address. Give one such as "
            "http://pushgateway:9091; special characters of a password are written as %2F and the like."
        )
    return parts


def _opener(tls: ssl.SSLContext | None) -> OpenerDirector:
    """Return what sends requests, by the environment's proxies; it follows no redirect, for credentials would too."""
    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler(context=tls)):
        opener.add_handler(handler)
    return opener


def _seconds(retry_after: str) -> float:
    """Read a Retry-After header: seconds, or a date."""
    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - wall())
    except (ValueError, OverflowError):
        return 0.0


def _advice(answer: _Answer) -> str:
    if answer.status in (401, 403):
        return "Check token=, basic_auth= or headers=."
    if answer.status in (404, 405):
        return "Check the path of the address, and that the server is told to take pushes."
    if 300 <= answer.status < 400:
        place = urlsplit(answer.location)
        return f"It sends elsewhere: use {place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}."
    return "It would refuse it again, so it is not sent again."

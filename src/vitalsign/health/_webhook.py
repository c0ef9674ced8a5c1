"""Tell changes to a webhook: one JSON POST for each, by the standard library alone."""

from __future__ import annotations

import json
import random
import ssl
from http.client import HTTPException
from threading import Event
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import positive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vitalsign.health._changes import Change

__all__ = ["Webhook"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds between tries


class Webhook:
    """
    A listener that posts each change as JSON.

    It goes through the environment's proxies and follows no redirect, since the token would go along.

    Args:
        url: With http or https, without credentials. Its path may be a secret, as that of many chats is: only scheme
            and host are ever shown.
        token: Sent as `Authorization: Bearer ...`.
        headers: Further headers.
        timeout: Seconds that each wait for the network may take.
        attempts: How often a change is sent at most.
        context: For TLS; None verifies as a browser would.

    Raises:
        HealthCheckError: The URL is none, or another value makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
        attempts: int = 3,
        context: ssl.SSLContext | None = None,
    ) -> None:
        positive("timeout of the webhook", timeout)
        if not isinstance(attempts, int) or attempts < 1:
            raise HealthCheckError(f"attempts of the webhook is {attempts!r}; it must be 1 or more.")
        if token is not None and not token.strip():
            raise HealthCheckError(
                "The token for the webhook is empty; is the environment variable that holds it set? "
                "Give a secret, or None for no token."
            )
        self.shown = _checked(url)
        self._url = url
        self._headers = {"Content-Type": "application/json", "User-Agent": "vitalsign", **(headers or {})}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token.strip()}"
        self._timeout = timeout
        self._attempts = attempts
        self._opener = _opener(context)

    def __call__(self, change: Change) -> None:
        """
        Post *change*, and again while the server cannot take it.

        Raises:
            ConnectionError: The server did not take it.
        """
        body = json.dumps(change.to_dict(), separators=(",", ":")).encode()
        tries, last, is_final = 0, "", False
        while tries < self._attempts and not is_final:
            if tries:
                _pause(tries)
            tries += 1
            last, is_final = self._try(body)
        if last:
            raise ConnectionError(f"{self.shown} has not taken a change of health; tries: {tries}, the last: {last}")

    def _try(self, body: bytes) -> tuple[str, bool]:
        """Post once; return what went wrong, nothing if all went well, and whether that will not change."""
        try:
            request = Request(self._url, body, self._headers, method="POST")  # noqa: S310  # http or https: checked
            with self._opener.open(request, timeout=self._timeout) as response:
                status: int = response.status
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            return type(reason).__name__, isinstance(reason, ssl.SSLCertVerificationError)
        if 200 <= status < 300:
            return "", True
        return f"status {status}", status < 500 and status not in (408, 429)


def _pause(tries: int) -> None:
    # Many instances lose a dependency at the same moment: their messages do not come again at the same one.
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (tries - 1))
    Event().wait(longest * random.uniform(0.5, 1))  # noqa: S311


def _checked(url: str) -> str:
    """Return scheme and host of an address that can be posted to."""
    try:
        parts = urlsplit(url)
        can_be_asked = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port, or the brackets of an IPv6 address
        can_be_asked = False
    if not can_be_asked or not url.isprintable() or " " in url:
        raise HealthCheckError(
            "The URL of the webhook is none that can be posted to. Give one such as 'https://chat.example.com/hooks/1'."
        )
    if "@" in parts.netloc:
        raise HealthCheckError("The URL of the webhook carries credentials. Give token= or headers= instead.")
    return f"{parts.scheme}://{parts.netloc}"


def _opener(context: ssl.SSLContext | None) -> OpenerDirector:
    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler(context=context)):
        opener.add_handler(handler)
    return opener

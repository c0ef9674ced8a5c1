"""How a push is let in: what the host says of it, the header that it becomes, and what of it must not be shown."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

from vitalsign.exceptions import PushOptionError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from urllib.parse import SplitResult

__all__ = ["ConnectionOptions", "check", "credentials", "secrets"]

_SHORTEST_SECRET = 6  # characters; shorter ones are in every text by chance


class ConnectionOptions(TypedDict, total=False):
    """
    How to be let in; none of it is ever shown in logs or errors.

    Attributes:
        basic_auth: User and password; they may stand in the URL too.
        token: Bearer token.
        headers: Further headers.
        tls: For https: which certificates are trusted, and the client's own. The default trusts what the system does.
    """

    basic_auth: tuple[str, str]
    token: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext


def check(options: ConnectionOptions) -> None:
    """
    Look at the options before the job runs: at its end, what is wrong with them would cost its metrics.

    Raises:
        PushOptionError: One is of the wrong kind, which is not shown.
        TypeError: There is no such option.
    """
    if unknown := options.keys() - ConnectionOptions.__annotations__.keys():
        known = ", ".join(ConnectionOptions.__annotations__)
        raise TypeError(f"There is no option {min(unknown)!r}. To be let in, there are {known}.")
    token, basic = options.get("token"), options.get("basic_auth")
    if token is not None and not (isinstance(token, str) and token.strip()):
        raise PushOptionError("token= is empty, or no text. Is the variable set that it comes from?")
    if basic is not None and not (isinstance(basic, tuple | list) and [type(part) for part in basic] == [str, str]):
        raise PushOptionError("basic_auth= has to be user and password, as two texts: ('user', 'password').")
    if not isinstance(options.get("headers") or {}, Mapping):
        raise PushOptionError("headers= has to be a dict of names and values.")
    if not isinstance(options.get("tls"), ssl.SSLContext | None):
        raise PushOptionError("tls= has to be an ssl.SSLContext, such as ssl.create_default_context(cafile=...).")


def credentials(parts: SplitResult, options: ConnectionOptions) -> dict[str, str]:
    """
    Return the header by which the server knows who pushes; nothing where it need not.

    Raises:
        PushOptionError: There are several.
    """
    token, basic = options.get("token"), options.get("basic_auth")
    in_url = b":".join(unquote_to_bytes(text or "") for text in (parts.username, parts.password))
    given = [value for value in (token, basic, parts.username) if value is not None]
    if len(given) > 1:
        raise PushOptionError("Credentials are given twice. Use one of token=, basic_auth= and those in the URL.")
    if token is not None:
        return {"Authorization": f"Bearer {token}"}
    user = in_url if basic is None else ":".join(basic).encode()
    return {"Authorization": "Basic " + base64.b64encode(user).decode()} if given else {}


def secrets(parts: SplitResult, options: ConnectionOptions, headers: Iterable[str]) -> list[str]:
    """Return what an answer may repeat of what it was sent, and a log must not."""
    _, password = options.get("basic_auth") or ("", "")
    given = [password, unquote(parts.password or ""), *(value for _, value in parse_qsl(parts.query))]
    words = [word for value in headers for word in value.split()]
    return [secret for secret in [*given, *words] if len(secret) >= _SHORTEST_SECRET]

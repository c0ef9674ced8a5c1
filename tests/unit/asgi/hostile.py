"""Requests as scanners make them: random paths, methods, hosts, headers, lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import random

__all__ = ["hostile_scope"]

_PATHS = [
    "/wp-login.php",
    "/.env",
    "/users/1",
    "/users/../../etc/passwd",
    "//",
    "/%00",
    "/files//x",
    "/users/1/",
    "/files/a/b",
    "",
]
_METHODS = ["GET", "GET", "GET", "POST", "HEAD", "get", "Post", "PROPFIND", "BREW", "", "G\u0130T"]
_LENGTHS = [b"abc", b"-1", b"1e9", b"99999999999999999999999", b"", b"\xff", b"0x10", b" 5 5"]
_NAMES = [b"traceparent", b"tracestate", b"content-length", b"x-forwarded-for", b"x-request-id", b"\xff\xfe", b""]


def hostile_scope(chance: random.Random) -> dict[str, Any]:
    """Return the scope of a request that no well-meaning client makes."""
    path = chance.choice(_PATHS) if chance.random() < 0.2 else "/" + text(chance, 40)
    if chance.random() < 0.01:
        path += "a" * 20_000
    method = chance.choice(_METHODS) if chance.random() < 0.7 else text(chance, 12)
    headers = [(b"host", noise(chance, 30)), (b"content-length", chance.choice(_LENGTHS))]
    headers += [(chance.choice(_NAMES), noise(chance, 60)) for _ in range(chance.randrange(4))]
    if chance.random() < 0.01:
        headers.append((b"traceparent", b"f" * 100_000))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": chance.choice(["1.1", "1.0", "2", "9.9", text(chance, 4)]),
        "method": method,
        "scheme": chance.choice(["http", "https"]),
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": quote(noise(chance, 40)).encode(),
        "root_path": chance.choice(["", "", "", "/proxy", text(chance, 5)]),
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }


def text(chance: random.Random, longest: int) -> str:
    """Return characters of every kind, as a server decodes them from a path."""
    return "".join(map(chr, chance.choices(_ODD, k=chance.randrange(longest))))


def noise(chance: random.Random, longest: int) -> bytes:
    """Return bytes of every kind."""
    return chance.randbytes(chance.randrange(longest))


_ODD = [*range(0x20, 0x7F), *range(0x20, 0x7F), *range(0x20), 0xE4, 0x130, 0x2028, 0xFFFD, 0x1F600]

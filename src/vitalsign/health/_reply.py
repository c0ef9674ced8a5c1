"""From what was found to a reply, in the form that was asked for. No I/O, no framework."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitalsign.health._check import Status
from vitalsign.health._text import check_text, info_text, report_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vitalsign.health._report import CheckResult, Report

__all__ = ["NO_STORE", "Reply", "check_reply", "info_reply", "plain_reply", "report_reply"]

NO_STORE = (("cache-control", "no-store"),)

_JSON = "application/json"
_HEALTH_JSON = "application/health+json"
_TEXT = "text/plain"
_FORMS = (_HEALTH_JSON, _JSON, _TEXT)
"""Where a client wants several equally, the first of these."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A status code, headers without those of the body, and the body."""

    status_code: int
    body: bytes
    content_type: str = _JSON
    headers: tuple[tuple[str, str], ...] = NO_STORE

    def all_headers(self) -> list[tuple[str, str]]:
        """Return all headers, their names in lower case."""
        length = ("content-length", str(len(self.body)))
        return [*self.headers, ("content-type", self.content_type), length]


def report_reply(report: Report, accept: str, *, details: bool) -> Reply:
    """Answer with *report*: the status for everybody, the rest where *details* may be seen."""
    form = _preferred(accept)
    if form == _TEXT:
        return _in_text(report.status_code, report_text(report) if details else report.status.value)
    data = report.to_health_json(details=details) if form == _HEALTH_JSON else report.to_dict(details=details)
    return Reply(report.status_code, _encode(data), form)


def check_reply(service: str, check: CheckResult, accept: str) -> Reply:
    """Answer with one check, to somebody who may see it: 503 if it has failed or has no result, critical or not."""
    status_code = 503 if check.status in (Status.FAIL, Status.UNKNOWN) else 200
    form = _preferred(accept)
    if form == _TEXT:
        return _in_text(status_code, check_text(check))
    if form == _HEALTH_JSON:
        component = check.to_health_json()
        data = {"status": component["status"], "serviceId": service, "checks": {check.name: [component]}}
        return Reply(status_code, _encode(data), form)
    return Reply(status_code, _encode({"service": service, "check": check.name, **check.to_dict()}))


def info_reply(info: Mapping[str, object], accept: str) -> Reply:
    """Answer with what there is to know of a service besides its checks."""
    if _preferred(accept) == _TEXT:
        return _in_text(200, info_text(info))
    return Reply(200, _encode(info))


def plain_reply(status_code: int, text: str, *headers: tuple[str, str]) -> Reply:
    """Answer with one line."""
    return _in_text(status_code, text, *headers)


def _in_text(status_code: int, text: str, *headers: tuple[str, str]) -> Reply:
    body = f"{text}\n".encode(errors="replace")
    return Reply(status_code, body, f"{_TEXT}; charset=utf-8", (*NO_STORE, *headers))


def _encode(data: Mapping[str, object]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def _preferred(accept: str) -> str:
    # Only who names a type gets another than JSON: wildcards get that, which everything can show.
    wanted = dict(map(_quality, accept.split(",")))
    form = max(_FORMS, key=lambda form: wanted.get(form, 0.0))
    return form if wanted.get(form, 0.0) > 0 else _JSON


def _quality(part: str) -> tuple[str, float]:
    media_type, *parameters = part.split(";")
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    return media_type.strip().lower(), quality

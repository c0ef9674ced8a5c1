"""Alertmanager's webhook notifications as data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from vitalsign.exceptions import AlertPayloadError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Alert", "AlertGroup", "parse_alerts"]

AlertStatus: TypeAlias = Literal["firing", "resolved"]

_VERSION = "4"
_NEVER = "0001-01-01"  # the day of Go's zero time


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """
    What the alerts of one notification have in common.

    Attributes:
        key: Identifies the group to Alertmanager.
        status: `firing` while any of its alerts is.
        receiver: Name of the receiver in Alertmanager's configuration.
        labels: Labels that the group is made by.
        common_labels: Labels that all of its alerts have.
        common_annotations: Annotations that all of its alerts have.
        external_url: Where Alertmanager is reached.
        truncated: Alerts that Alertmanager left out, as its `max_alerts` has it.
    """

    key: str
    status: AlertStatus
    receiver: str
    labels: Mapping[str, str]
    common_labels: Mapping[str, str]
    common_annotations: Mapping[str, str]
    external_url: str
    truncated: int


@dataclass(frozen=True, slots=True)
class Alert:
    """
    One alert that fires, or has been resolved.

    Attributes:
        status: `firing` or `resolved`.
        labels: Its labels, `alertname` among them.
        annotations: Its annotations, such as `summary`.
        starts_at: Since when it fires.
        ends_at: When it was resolved; None while it fires.
        fingerprint: Identifies its labels.
        generator_url: Where it comes from: a graph of its expression, in Prometheus.
        group: What it has in common with the others of its notification.
    """

    status: AlertStatus
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    fingerprint: str
    generator_url: str
    group: AlertGroup

    @property
    def name(self) -> str:
        """Label `alertname`; empty if there is none."""
        return self.labels.get("alertname", "")

    @property
    def severity(self) -> str:
        """Label `severity`; empty if there is none."""
        return self.labels.get("severity", "")

    @property
    def is_firing(self) -> bool:
        """Whether it fires."""
        return self.status == "firing"

    @property
    def identity(self) -> tuple[str, str, datetime]:
        """What a repeated notification has again: fingerprint, status, and since when it fires."""
        return self.fingerprint, self.status, self.starts_at


def parse_alerts(body: bytes) -> list[Alert]:
    """
    Read a notification, and return its alerts, each once.

    Raises:
        AlertPayloadError: It is no JSON, of another version, or lacks something.
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AlertPayloadError(f"The body is no JSON: {error or type(error).__name__}.") from error
    if not isinstance(payload, dict):
        raise AlertPayloadError("The body is no JSON object.")
    version = payload.get("version")
    if version != _VERSION:
        raise AlertPayloadError(f"version is {_shown(version)}; only {_VERSION!r} of Alertmanager's webhook is read.")
    group = _group(_Reader(payload, ""))
    alerts = payload.get("alerts")
    if not isinstance(alerts, list) or not alerts:
        raise AlertPayloadError(f"alerts is {_shown(alerts)}; it must be a list of one or more alerts.")
    parsed = [_alert(_Reader(one, f"alerts[{number}]."), group) for number, one in enumerate(alerts)]
    return list({alert.identity: alert for alert in parsed}.values())


def _group(reader: _Reader) -> AlertGroup:
    return AlertGroup(
        key=reader.text("groupKey"),
        status=reader.status(),
        receiver=reader.text("receiver"),
        labels=reader.texts("groupLabels"),
        common_labels=reader.texts("commonLabels"),
        common_annotations=reader.texts("commonAnnotations"),
        external_url=reader.text("externalURL"),
        truncated=reader.count("truncatedAlerts"),
    )


def _alert(reader: _Reader, group: AlertGroup) -> Alert:
    starts_at = reader.time("startsAt")
    if starts_at is None:
        raise reader.refusal("startsAt", "a time")
    status = reader.status()
    return Alert(
        status=status,
        labels=reader.texts("labels"),
        annotations=reader.texts("annotations"),
        starts_at=starts_at,
        ends_at=reader.time("endsAt") if status == "resolved" else None,
        fingerprint=reader.text("fingerprint", may_be_empty=False),
        generator_url=reader.text("generatorURL"),
        group=group,
    )


class _Reader:
    """Read the members of one JSON object; what is of the wrong kind is named in the error."""

    def __init__(self, source: object, place: str) -> None:
        if not isinstance(source, dict):
            raise AlertPayloadError(f"{place.removesuffix('.')} is {_shown(source)}; it must be an object.")
        self._source: dict[str, Any] = source
        self._place = place

    def text(self, name: str, *, may_be_empty: bool = True) -> str:
        value = self._source.get(name, "")
        if not isinstance(value, str) or not (value or may_be_empty):
            raise self.refusal(name, "a text")
        return value

    def texts(self, name: str) -> Mapping[str, str]:
        value = self._source.get(name)
        value = {} if value is None else value  # Go's word for an empty map
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise self.refusal(name, "an object of texts")
        return MappingProxyType(value)

    def status(self) -> AlertStatus:
        value = self._source.get("status")
        if value not in ("firing", "resolved"):
            raise self.refusal("status", "'firing' or 'resolved'")
        return cast("AlertStatus", value)

    def count(self, name: str) -> int:
        value = self._source.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.refusal(name, "a number of alerts")
        return value

    def time(self, name: str) -> datetime | None:
        value = self._source.get(name)
        if not isinstance(value, str):
            raise self.refusal(name, "a time")
        if value.startswith(_NEVER):
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise self.refusal(name, "a time as 2026-01-31T12:00:00Z") from None
        if moment.tzinfo is None:
            raise self.refusal(name, "a time with its zone")
        return moment

    def refusal(self, name: str, wanted: str) -> AlertPayloadError:
        return AlertPayloadError(f"{self._place}{name} is {_shown(self._source.get(name))}; it must be {wanted}.")


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, (str, int, float, type(None))) else f"of type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]}…"

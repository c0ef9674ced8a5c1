"""Every error that vitalsign raises: one base, one class per failure, each also the builtin it resembles."""

from __future__ import annotations

__all__ = [
    "AddressError",
    "AlertPayloadError",
    "CertificateError",
    "CollectorBoundError",
    "CollectorError",
    "CollectorOptionError",
    "DuplicateMetricError",
    "EndpointOptionError",
    "HealthCheckError",
    "HealthDependencyError",
    "HealthError",
    "HealthGroupError",
    "HealthLoopError",
    "LabelError",
    "LogError",
    "LogOptionError",
    "MetricError",
    "MissingExtraError",
    "ProcessesError",
    "PushError",
    "PushOptionError",
    "PushRefusedError",
    "UnknownCheckError",
    "UnknownMetricError",
    "VitalsignError",
]


class VitalsignError(Exception):
    """Base of every error that vitalsign raises on purpose."""


class MetricError(VitalsignError, ValueError):
    """A metric was declared or used in a way that cannot be exposed."""


class DuplicateMetricError(MetricError):
    """
    A metric name is already taken by a metric of another shape, or by another library.

    Attributes:
        name: The name that is taken.
        existing: What holds the name: the earlier metric, or another library's collector.
    """

    def __init__(self, message: str, *, name: str, existing: object = None) -> None:
        super().__init__(message)
        self.name = name
        self.existing = existing


class UnknownMetricError(MetricError, LookupError):
    """
    A metric was to be taken off a registry that does not hold it.

    Attributes:
        name: The metric's name.
    """

    def __init__(self, message: str, *, name: str) -> None:
        super().__init__(message)
        self.name = name


class LabelError(MetricError):
    """Label values do not fit the label names that the metric was declared with."""


class HealthError(VitalsignError):
    """Base of the errors about health checks."""


class HealthCheckError(HealthError, ValueError):
    """A health check, or one of its settings, was declared in a way that makes no sense."""


class HealthDependencyError(HealthCheckError):
    """
    Health checks depend on each other in a circle, or on a check that there is not.

    Attributes:
        checks: The names on the way: the last one depends on the first, or there is no such check.
    """

    def __init__(self, message: str, *, checks: tuple[str, ...]) -> None:
        super().__init__(message)
        self.checks = checks


class HealthGroupError(HealthError, LookupError):
    """
    A group of health checks was asked for that no check is in.

    Attributes:
        group: What was asked for.
        known: The groups that there are.
    """

    def __init__(self, message: str, *, group: str, known: tuple[str, ...]) -> None:
        super().__init__(message)
        self.group = group
        self.known = known


class UnknownCheckError(HealthError, LookupError):
    """
    A health check was asked for that there is not.

    Attributes:
        name: What was asked for.
        known: The checks that there are.
    """

    def __init__(self, message: str, *, name: str, known: tuple[str, ...]) -> None:
        super().__init__(message)
        self.name = name
        self.known = known


class HealthLoopError(HealthError, RuntimeError):
    """Health checks were asked for in the wrong way for the event loop that runs here, or does not run."""


class CollectorError(VitalsignError):
    """A collector is used in a way that cannot work."""


class CollectorBoundError(CollectorError, RuntimeError):
    """A collector is bound to one registry and was to be bound to another."""


class CollectorOptionError(CollectorError, ValueError):
    """A collector was given an option that makes no sense."""


class LogError(VitalsignError):
    """Base of the errors about logging."""


class LogOptionError(LogError, ValueError):
    """Logging was configured with an option that makes no sense."""


class ProcessesError(VitalsignError, OSError):
    """The directory by which processes share their metrics cannot be used."""


class PushError(VitalsignError, OSError):
    """
    Metrics did not get where they were pushed.

    Attributes:
        destination: Address or path, without credentials.
        status: What the server answered last; None if it did not answer.
    """

    def __init__(self, message: str, *, destination: str, status: int | None = None) -> None:
        super().__init__(message)
        self.destination = destination
        self.status = status


class PushRefusedError(PushError):
    """The server has refused the metrics, or the credentials, and would again."""


class PushOptionError(VitalsignError, ValueError):
    """A push was given an option that makes no sense."""


class AddressError(VitalsignError, OSError):
    """
    A server cannot listen where it was told to.

    Attributes:
        host: Name or address.
        port: Port; 0 for any free one.
    """

    def __init__(self, message: str, *, host: str, port: int) -> None:
        super().__init__(message)
        self.host = host
        self.port = port


class CertificateError(VitalsignError, OSError):
    """
    A file that a server needs for TLS cannot be used.

    Attributes:
        path: The file.
    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class EndpointOptionError(VitalsignError, ValueError):
    """An endpoint, or middleware, was given an option that makes no sense, or that would leave it open to everybody."""


class AlertPayloadError(VitalsignError, ValueError):
    """What came to the alert webhook is no notification of Alertmanager's; the text says where."""


class MissingExtraError(VitalsignError, ImportError):
    """
    A part of vitalsign needs a library that is not installed.

    Attributes:
        library: What is missing.
        extra: The extra that brings it.
    """

    def __init__(self, part: str, *, library: str, extra: str) -> None:
        super().__init__(
            f'{part} needs {library}, which is not installed. Run: pip install "vitalsign[{extra}]"', name=library
        )
        self.library = library
        self.extra = extra

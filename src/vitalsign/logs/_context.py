"""Fields that all lines written within a block have: of the request, the job, the trace."""

from __future__ import annotations

from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from vitalsign._trace import current_trace
from vitalsign.logs._clean import Cleaner
from vitalsign.metrics.internal import internal_error_later
from vitalsign.metrics.wrapping import Decorated, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RECORD_FIELDS", "current_context", "log_context", "snapshot"]

RECORD_FIELDS = "_vitalsign"
"""Attribute of a record that holds the fields of where it was logged, which may be another thread than writes it."""

_NOTHING: Mapping[str, object] = {}  # a plain dict: records are pickled, and their fields with them
_plain = Cleaner()


class _Entered(NamedTuple):
    """A block that has been entered, and those around it."""

    block: log_context
    fields: Mapping[str, object]
    outer: _Entered | None


_innermost: ContextVar[_Entered | None] = ContextVar("vitalsign_log_context", default=None)


class log_context:  # noqa: N801  # it is used like a function
    """
    Add fields to every line that is logged within a block, by whatever it calls.

    ```python
    with log_context(job_id=job.id, customer="acme"):
        run(job)
    ```

    Also for `async with`, and as a decorator of functions of every kind. Blocks nest: an inner one adds to the outer
    one's fields, or covers them; None takes a field out. Fields follow tasks and `asyncio.to_thread`, but not threads
    that the host starts itself. What they hold is read once, at the beginning of the block.
    """

    __slots__ = ("_added",)

    def __init__(self, **fields: object) -> None:
        self._added: Mapping[str, object] = _plain(fields)

    def __enter__(self) -> Self:
        merged = {**_current_fields(), **self._added}
        fields = {name: value for name, value in merged.items() if value is not None}
        _innermost.set(_Entered(self, fields, _innermost.get()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered, inside = _innermost.get(), []
        while entered is not None and entered.block is not self:
            inside.append(entered.block)
            entered = entered.outer
        if entered is not None:  # otherwise it is left in another context than it was entered in
            _innermost.set(entered.outer)
            for block in reversed(inside):  # which are left later, as happens to generators that take turns
                block.__enter__()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Decorated) -> Decorated:
        """
        Add the fields to what each call of *function* logs; a generator's only while it runs.

        Raises:
            TypeError: *function* is no function.
        """
        return wrap(function, lambda _args, _kwargs: _Call(self._added))


class _Call:
    """One call of a decorated function."""

    def __init__(self, added: Mapping[str, object]) -> None:
        self._block = log_context()
        self._block._added = added
        self.resume()

    def resume(self) -> None:
        self._block.__enter__()

    def pause(self) -> None:
        self._block.__exit__(None, None, None)

    def finish(self, _error: BaseException | None) -> None:
        self.pause()


def current_context() -> Mapping[str, object]:
    """Return the fields that `log_context` gives to what is logged here, such as the `request_id` to pass on."""
    return MappingProxyType(dict(_current_fields()))


def snapshot() -> Mapping[str, Any]:
    """Return the fields of what is logged here and now, the trace's ids among them."""
    try:
        trace = current_trace()
    except Exception as error:  # noqa: BLE001  # another library's
        internal_error_later("logs.trace", error)
        trace = None
    if trace is None:
        return _current_fields()
    return {"trace_id": trace.trace_id, "span_id": trace.span_id, **_current_fields()}


def _current_fields() -> Mapping[str, object]:
    entered = _innermost.get()
    return _NOTHING if entered is None else entered.fields

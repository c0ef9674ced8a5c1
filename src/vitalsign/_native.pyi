from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, final

def learn(cells: dict[str, Any], counter: type, distribution: type, gauge: type, /) -> None: ...
def exchange_type(base: type, recording: type, /) -> type: ...

@final
class Together:
    def __new__(cls, counted: Any, first: Any, second: Any, third: Any, /) -> Together: ...
    def __call__(self, first: float, second: float, third: float, /) -> None: ...

@final
class Opener:
    def __new__(
        cls,
        exchange: type,
        recorder: Any,
        mark: str,
        excludes: Callable[[Any], bool] | None,
        headers: ContextVar[Any],
        clock: Callable[[], float],
        report: Callable[[Exception], None],
    ) -> Opener: ...
    def open(self, scope: Any, receive: Any, send: Any, /) -> Any: ...

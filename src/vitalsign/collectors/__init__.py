"""
Collectors: what a service depends on, shown as metrics.

```python
SystemCollector().bind()
worker = WorkerCollector("pricing", queue="backtests").bind()
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vitalsign.collectors._base import Collector
from vitalsign.collectors._sampled import SampledCollector
from vitalsign.collectors.api_client import ApiCall, ApiClientCollector
from vitalsign.collectors.event_loop import EventLoopCollector
from vitalsign.collectors.executor import ExecutorCollector
from vitalsign.collectors.queue import QueueCollector
from vitalsign.collectors.worker import Job, WorkerCollector

if TYPE_CHECKING:
    from vitalsign.collectors.process import ProcessCollector
    from vitalsign.collectors.system import SystemCollector

__all__ = [
    "ApiCall",
    "ApiClientCollector",
    "Collector",
    "EventLoopCollector",
    "ExecutorCollector",
    "Job",
    "ProcessCollector",
    "QueueCollector",
    "SampledCollector",
    "SystemCollector",
    "WorkerCollector",
]

_ON_DEMAND = {"ProcessCollector": "process", "SystemCollector": "system"}  # they load psutil


def __getattr__(name: str) -> object:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

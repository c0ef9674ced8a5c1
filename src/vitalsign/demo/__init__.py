"""
A shop to look at: an instrumented service with a worker, a flaky dependency and visitors, all in one process.

It is an application as users write them, on the same public names; `vitalsign demo` serves it. Read `app.py` for what
makes a service observable, `checkout.py` for metrics of its own, `worker.py` for background jobs, `payments.py` for
calls to another service.
"""

from __future__ import annotations

from vitalsign.exceptions import MissingExtraError

try:
    from vitalsign.demo.figures import Figures
    from vitalsign.demo.server import Demo, listen, serving
except ImportError as _error:
    if (_error.name or "").startswith("vitalsign"):
        raise
    raise MissingExtraError("the demo", library=_error.name or "a library", extra="demo") from _error

__all__ = ["Demo", "Figures", "listen", "serving"]

"""
Serve the metrics of any WSGI application.

```python
from vitalsign.wsgi import metrics_wsgi_app

app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/metrics": metrics_wsgi_app()})
```
"""

from __future__ import annotations

from vitalsign._http_wsgi import MetricsWSGIApp, metrics_wsgi_app

__all__ = ["MetricsWSGIApp", "metrics_wsgi_app"]

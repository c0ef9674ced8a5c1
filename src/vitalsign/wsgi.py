"""
What any WSGI application needs: its metrics, and a log line for each request.

```python
from vitalsign.wsgi import AccessLogMiddleware, metrics_wsgi_app

app.wsgi_app = AccessLogMiddleware(app.wsgi_app)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/metrics": metrics_wsgi_app()})
```
"""

from __future__ import annotations

from vitalsign._http_access_wsgi import AccessLogMiddleware
from vitalsign._http_wsgi import MetricsWSGIApp, metrics_wsgi_app

__all__ = ["AccessLogMiddleware", "MetricsWSGIApp", "metrics_wsgi_app"]

"""
What any WSGI application needs: metrics of its requests, the page that shows them, and a log line for each.

```python
from vitalsign.wsgi import AccessLogMiddleware, MetricsMiddleware, metrics_wsgi_app

app.wsgi_app = AccessLogMiddleware(MetricsMiddleware(app.wsgi_app))  # Flask
application = MetricsMiddleware(get_wsgi_application())  # Django
```
"""

from __future__ import annotations

from vitalsign._http_access_wsgi import AccessLogMiddleware
from vitalsign._http_labels import RequestInfo
from vitalsign._http_wsgi import MetricsWSGIApp, metrics_wsgi_app
from vitalsign._http_wsgi_middleware import MetricsMiddleware

__all__ = ["AccessLogMiddleware", "MetricsMiddleware", "MetricsWSGIApp", "RequestInfo", "metrics_wsgi_app"]

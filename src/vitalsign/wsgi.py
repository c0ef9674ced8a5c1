"""
Measure the requests of any WSGI application.

```python
from vitalsign.wsgi import MetricsMiddleware

app.wsgi_app = MetricsMiddleware(app.wsgi_app)  # Flask
application = MetricsMiddleware(get_wsgi_application())  # Django
```
"""

from __future__ import annotations

from vitalsign._http_labels import RequestInfo
from vitalsign._http_wsgi_middleware import MetricsMiddleware

__all__ = ["MetricsMiddleware", "RequestInfo"]

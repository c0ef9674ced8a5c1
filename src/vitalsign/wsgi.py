"""
Log the requests of any WSGI application.

```python
from vitalsign.wsgi import AccessLogMiddleware

app.wsgi_app = AccessLogMiddleware(app.wsgi_app)
```
"""

from __future__ import annotations

from vitalsign._http_access_wsgi import AccessLogMiddleware

__all__ = ["AccessLogMiddleware"]

"""The metrics endpoint behind a proxy on a Unix domain socket, as ASGI and as WSGI application."""

from vitalsign.asgi import metrics_app
from vitalsign.wsgi import metrics_wsgi_app

OPTIONS = {"token": "s3cret", "allow": ["127.0.0.1", "10.0.0.0/8"], "trusted_proxies": "unix"}

asgi = metrics_app(**OPTIONS)
wsgi = metrics_wsgi_app(**OPTIONS)

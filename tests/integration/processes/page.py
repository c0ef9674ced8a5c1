"""An application that has no metrics of its own, and shows those of the workers that share its directory."""

from __future__ import annotations

from vitalsign.asgi import metrics_app

page = metrics_app()

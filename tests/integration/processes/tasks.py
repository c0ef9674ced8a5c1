"""Tasks that Celery's worker processes run, as queue and results lie in the Redis that the environment names."""

from __future__ import annotations

import os

from celery import Celery

from tests.integration.processes.app import order

celery = Celery("shop", broker=os.environ["SHOP_REDIS"], backend=os.environ["SHOP_REDIS"])


@celery.task
def place(path: str) -> int:
    """Place an order, and tell which process did."""
    return int(order(path))

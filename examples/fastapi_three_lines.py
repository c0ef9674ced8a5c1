"""
A FastAPI service made observable by three lines.

    pip install vitalsign fastapi uvicorn
    python examples/fastapi_three_lines.py

Then ask for http://127.0.0.1:8000/books/dune a few times, and look at http://127.0.0.1:8000/metrics.
"""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, HTTPException

from vitalsign.asgi import MetricsMiddleware, metrics_app  # 1

PRICES = {"dune": 9.9, "emma": 7.5, "ulysses": 12.0}

app = FastAPI()
app.add_middleware(MetricsMiddleware)  # 2
app.add_route("/metrics", metrics_app())  # 3


@app.get("/books/{title}")
async def book(title: str) -> dict[str, float]:
    """Look a price up."""
    await asyncio.sleep(0.01)
    if title not in PRICES:
        raise HTTPException(404)
    return {"price": PRICES[title]}


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=8000)

"""Transports of httpx that record what passes: event hooks would miss every request that gets no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

try:
    import httpx
except ImportError as error:
    raise ImportError(
        "The httpx transports need httpx, which is not installed. Run: pip install 'vitalsign[httpx]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

    from vitalsign.collectors.api_client import ApiCall, ApiClientCollector

__all__ = ["AsyncTransport", "Transport"]


class Transport(httpx.BaseTransport):
    """Pass requests on to another transport and record them; a call lasts until its body is read or closed."""

    def __init__(self, api: ApiClientCollector, inner: httpx.BaseTransport | None) -> None:
        self._api = api
        self._inner = inner if inner is not None else httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* and return the response, with its body unread."""
        call = _begin(self._api, request)
        try:
            response = self._inner.handle_request(request)
        except BaseException as error:
            call.end(error)
            raise
        call.response(response.status_code, response.headers)
        if response.is_closed or not isinstance(response.stream, httpx.SyncByteStream):
            call.end()  # its body is there already
        else:
            response.stream = _Stream(response.stream, call)
        return response

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._inner.__exit__(exc_type, exc_value, traceback)

    def close(self) -> None:
        """Close the transport that does the work."""
        self._inner.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """Pass requests on to another transport and record them; a call lasts until its body is read or closed."""

    def __init__(self, api: ApiClientCollector, inner: httpx.AsyncBaseTransport | None) -> None:
        self._api = api
        self._inner = inner if inner is not None else httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* and return the response, with its body unread."""
        call = _begin(self._api, request)
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException as error:
            call.end(error)
            raise
        call.response(response.status_code, response.headers)
        if response.is_closed or not isinstance(response.stream, httpx.AsyncByteStream):
            call.end()  # its body is there already
        else:
            response.stream = _AsyncStream(response.stream, call)
        return response

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc_value, traceback)

    async def aclose(self) -> None:
        """Close the transport that does the work."""
        await self._inner.aclose()


class _Stream(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, call: ApiCall) -> None:
        self._inner = inner
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._inner
        except Exception as error:
            self._call.end(error)
            raise

    def close(self) -> None:
        try:
            self._inner.close()
        finally:
            self._call.end()


class _AsyncStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, call: ApiCall) -> None:
        self._inner = inner
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                yield chunk
        except Exception as error:
            self._call.end(error)
            raise

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            self._call.end()


def _begin(api: ApiClientCollector, request: httpx.Request) -> ApiCall:
    call = api.call(api.http_operation(request.method, request.url.host, request.url.path))
    call.begin()
    if "traceparent" not in request.headers:
        request.headers.update(call.trace_headers())
    return call

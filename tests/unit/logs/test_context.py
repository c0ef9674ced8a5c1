"""Fields of a block: where they reach and where they end."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import logging.handlers
import pickle
import queue
import threading

import pytest

from vitalsign._trace import REQUEST_HEADERS
from vitalsign.logs import current_context, log_context


def test_blocks_nest(log, logger):
    """An inner block adds to the outer one's fields or covers them, None takes one out, and leaving undoes it."""
    with log_context(request_id="r", customer="acme"):
        with log_context(job_id=7, customer="other"):
            logger.info("inner")
        with log_context(customer=None):
            logger.info("without")
        logger.info("outer")
    logger.info("outside")
    shown = [{name: line.get(name) for name in ("request_id", "job_id", "customer")} for line in log.lines]
    assert shown == [
        {"request_id": "r", "job_id": 7, "customer": "other"},
        {"request_id": "r", "job_id": None, "customer": None},
        {"request_id": "r", "job_id": None, "customer": "acme"},
        {"request_id": None, "job_id": None, "customer": None},
    ]


def test_a_block_ends_with_an_exception(log, logger):
    """An exception passes through, and takes the fields away."""
    with pytest.raises(LookupError), log_context(request_id="r"):
        raise LookupError
    assert current_context() == {}


def test_tasks_do_not_see_each_others_fields(log, logger):
    """Tasks that run at the same time have their own fields, as do the threads that they hand work to."""

    async def task(name):
        async with log_context(job_id=name):
            await asyncio.sleep(0)
            logger.info(name)
            await asyncio.to_thread(logger.info, name)

    async def main():
        await asyncio.gather(*(task(str(number)) for number in range(20)))

    asyncio.run(main())
    assert len(log.lines) == 40
    assert all(line["job_id"] == line["message"] for line in log.lines)


def test_threads_do_not_see_each_others_fields(log, logger):
    """Threads have their own fields, and their lines do not mix."""
    together = threading.Barrier(8)

    def work(name):
        with log_context(job_id=name):
            together.wait()
            for _ in range(50):
                logger.info(name)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(log.lines) == 400
    assert all(line["job_id"] == line["message"] for line in log.lines)


def test_a_line_has_the_fields_of_where_it_was_logged(log, logger):
    """A record that another thread writes, by a queue, has the fields and the trace of its own place."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    records: queue.SimpleQueue = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(records, *handlers)
    for handler in handlers:
        root.removeHandler(handler)
    root.addHandler(queued := logging.handlers.QueueHandler(records))
    listener.start()
    try:
        with log_context(request_id="r"):
            logger.info("hello %s", "you")
    finally:
        listener.stop()
        root.removeHandler(queued)
        for handler in handlers:
            root.addHandler(handler)
    assert (log.line["request_id"], log.line["message"]) == ("r", "hello you")


@pytest.mark.parametrize("fields", [{}, {"customer": "acme", "at": object()}])
def test_records_can_be_pickled(log, logger, fields):
    """A record that the host sends to another process keeps the fields of where it was logged."""
    handler = logging.handlers.SocketHandler("127.0.0.1", 1)
    with log_context(**fields):
        record = logger.makeRecord(logger.name, logging.INFO, "here", 1, "hello", (), None)
    sent = logging.makeLogRecord(pickle.loads(handler.makePickle(record)[4:]))
    handler.close()
    logging.getLogger().handle(sent)
    assert log.line["message"] == "hello"
    assert log.line.get("customer") == fields.get("customer")


def test_as_a_decorator(log, logger):
    """Functions of every kind log with the fields, keep their kind, and can be called again."""

    @log_context(job_id="plain")
    def plain():
        logger.info("x")

    @log_context(job_id="coroutine")
    async def coroutine():
        await asyncio.sleep(0)
        logger.info("x")

    assert inspect.iscoroutinefunction(coroutine)
    for _ in range(2):
        plain()
        asyncio.run(coroutine())
    assert [line["job_id"] for line in log.lines] == ["plain", "coroutine"] * 2
    assert current_context() == {}


def test_a_generators_fields_are_not_its_consumers(log, logger):
    """A decorated generator, or async generator, has its fields while it runs, and not while it waits."""

    @log_context(job_id="inside")
    def numbers():
        for number in range(2):
            logger.info("inside")
            yield number

    @log_context(job_id="inside")
    async def stream():
        for number in range(2):
            logger.info("inside")
            yield number

    async def consume():
        async for _ in stream():
            logger.info("outside")

    for _ in numbers():
        logger.info("outside")
    asyncio.run(consume())
    assert [(line["message"], line.get("job_id")) for line in log.lines] == [
        ("inside", "inside"),
        ("outside", None),
    ] * 4


def test_a_block_left_in_another_context_raises_nothing():
    """A block that is left where it was not entered, as by a server that closes a generator elsewhere, ends quietly."""
    block = log_context(request_id="r")
    contextvars.copy_context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert current_context() == {}


def test_a_block_can_be_shared_and_entered_again(log, logger):
    """One block, entered by several threads at the same time and within itself, ends in each where it began."""
    block, together = log_context(job_id=7), threading.Barrier(4)

    def work():
        with block:
            together.wait()
            with block:
                logger.info("inside")
            together.wait()
        logger.info("outside")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(line["message"], line.get("job_id")) for line in log.lines} == {("inside", 7), ("outside", None)}


def test_blocks_of_generators_that_take_turns():
    """A block that is left before one that was entered later takes its own fields away, and no others."""
    first, second = log_context(a=1), log_context(b=2)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert current_context() == {"b": 2}
    second.__exit__(None, None, None)
    assert current_context() == {}


def test_values_are_read_once(log, logger):
    """What a field holds is read when the block begins: a list that changes later changes no line."""
    names = ["a"]
    with log_context(names=names):
        names.append("b")
        logger.info("x")
    assert log.line["names"] == ["a"]


def test_current_context_is_a_copy():
    """The fields can be read, to pass an id on, and not be changed by that."""
    with log_context(request_id="r"):
        context = current_context()
        with pytest.raises(TypeError):
            context["request_id"] = "other"
    assert context == {"request_id": "r"}


TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_trace_of_the_request(log, logger):
    """Within a request that came with a traceparent, lines have its ids."""
    token = REQUEST_HEADERS.set([(b"traceparent", TRACEPARENT)])
    try:
        logger.info("inside")
    finally:
        REQUEST_HEADERS.reset(token)
    assert log.line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert log.line["span_id"] == "00f067aa0ba902b7"


def test_a_span_of_opentelemetrys_goes_first(log, logger):
    """Within a span, lines have its ids rather than those of the request's header."""
    trace = pytest.importorskip("opentelemetry.trace")
    span = trace.NonRecordingSpan(trace.SpanContext(0xAB, 0xCD, is_remote=False, trace_flags=trace.TraceFlags(1)))
    token = REQUEST_HEADERS.set([(b"traceparent", TRACEPARENT)])
    try:
        with trace.use_span(span):
            logger.info("inside")
    finally:
        REQUEST_HEADERS.reset(token)
    assert (log.line["trace_id"], log.line["span_id"]) == (f"{0xAB:032x}", f"{0xCD:016x}")


def test_a_trace_that_cannot_be_read_breaks_nothing(log, logger, monkeypatch):
    """If the tracing library fails, the line is written without a trace."""
    monkeypatch.setattr("vitalsign.logs._context.current_trace", lambda: 1 / 0)
    logger.info("hello")
    assert log.line["message"] == "hello"

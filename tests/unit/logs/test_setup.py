"""What configuring replaces, what it leaves, and how it is undone."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import subprocess
import sys

import pytest

from tests.processes import run_script
from vitalsign.exceptions import LogOptionError
from vitalsign.logs import MessageCounter, configure_logging
from vitalsign.logs.formatter import JsonFormatter


@pytest.fixture
def root():
    """Return the root logger, and leave it as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


def test_configuring_twice_writes_once(log, logger):
    """The second configuration takes the place of the first: one line, counted once, under the new service."""
    log.configure("other")
    logger.info("hello")
    assert log.line["service"] == "other"
    assert log.counted("INFO", logger.name) == 1


def test_terminal_handlers_are_replaced_and_others_kept(root, registry):
    """A handler that writes to the terminal makes way for the lines; files and the like go on as they were."""
    terminals = [logging.StreamHandler(sys.stderr), logging.StreamHandler(sys.stdout), logging.StreamHandler()]
    other = logging.StreamHandler(io.StringIO())
    root.handlers[:] = [*terminals, other]
    root.setLevel("ERROR")
    setup = configure_logging("shop", registry=registry, level="debug")
    assert other in root.handlers
    assert not set(terminals) & set(root.handlers)
    assert root.level == logging.DEBUG
    setup.close()
    assert set(root.handlers) == {*terminals, other}
    assert root.level == logging.ERROR


def test_closing_puts_everything_back(registry):
    """After `close()`, logging has the factory, the methods and the handlers that it had before; twice is harmless."""

    def state():
        return (
            logging.getLogRecordFactory(),
            logging.Logger.makeRecord,
            logging.getLogger().handlers[:],
            logging.getLogger("uvicorn.access").propagate,
        )

    before = state()
    setup = configure_logging("shop", registry=registry, stream=io.StringIO())
    assert all(now != then for now, then in zip(state()[:3], before[:3], strict=True))
    setup.close()
    setup.close()
    assert state() == before


def test_closing_leaves_what_others_have_wrapped(registry, monkeypatch):
    """A factory that another library has put round ours stays in its place, and takes nothing over any more."""
    server = logging.getLogger("uvicorn")
    monkeypatch.setattr(server, "handlers", [])
    before = logging.getLogRecordFactory()
    setup = configure_logging("shop", registry=registry, stream=io.StringIO())
    ours = logging.getLogRecordFactory()

    def theirs(*args, **kwargs):
        return ours(*args, **kwargs)

    logging.setLogRecordFactory(theirs)
    try:
        setup.close()
        assert logging.getLogRecordFactory() is theirs
        terminal = logging.StreamHandler(sys.stderr)
        server.handlers = [terminal]
        server.warning("started")
        assert server.handlers == [terminal]
    finally:
        logging.setLogRecordFactory(before)


def test_an_older_setup_closed_late_undoes_nothing(log, logger):
    """Closing a configuration that another one has replaced leaves the other one in place."""
    first = log.configure("first")
    log.configure("second")
    first.close()
    logger.info("hello")
    assert log.line["service"] == "second"


def test_loggers_of_servers_are_taken_over(log, monkeypatch):
    """What uvicorn and its like log comes as lines too, once, and without what they add for terminals."""
    log.configure().close()
    own = io.StringIO()
    logger = logging.getLogger("uvicorn.access")
    handler = logging.StreamHandler(own)
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)
    setup = log.configure()
    logger.info('%s - "%s" %d', "127.0.0.1", "GET /", 200, extra={"color_message": "\x1b[1mGET\x1b[0m"})
    assert log.line["message"] == '127.0.0.1 - "GET /" 200'
    assert "color_message" not in log.line
    assert own.getvalue() == ""
    setup.close()
    assert (logger.handlers, logger.propagate) == ([handler], False)


@pytest.mark.parametrize(
    ("name", "holder", "propagate"),
    [("uvicorn.error", "uvicorn", False), ("hypercorn.error", "hypercorn.error", True)],
)
def test_servers_that_configure_logging_later_are_taken_over_too(log, monkeypatch, name, holder, propagate):
    """A server that gives its loggers handlers after us has its lines here, once; what it writes to a file stays."""
    log.configure().close()
    logger, own = logging.getLogger(name), logging.getLogger(holder)
    monkeypatch.setattr(own, "handlers", [])
    monkeypatch.setattr(own, "propagate", True)
    setup = log.configure()
    written = io.StringIO()
    terminal, file = logging.StreamHandler(sys.stderr), logging.StreamHandler(written)
    own.handlers = [terminal, file]
    own.propagate = propagate
    logger.error("started")
    assert log.line["message"] == "started"
    assert own.handlers == [file]
    assert written.getvalue() == "started\n"
    setup.close()
    assert terminal in own.handlers


def test_a_server_that_was_told_not_to_log_stays_silent(log, monkeypatch):
    """A logger that has neither handlers nor anything above it, as by `uvicorn --no-access-log`, is left alone."""
    log.configure().close()
    logger = logging.getLogger("uvicorn.access")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", False)
    log.configure()
    assert not logger.hasHandlers()


def test_loggers_to_take_over_can_be_chosen(log):
    """Only the loggers that are named lose their handlers."""
    ours, theirs = logging.getLogger("tests.ours"), logging.getLogger("tests.theirs")
    for logger in (ours, theirs):
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    setup = log.configure(take_over=["tests.ours"])
    ours.warning("one")
    theirs.warning("two")
    assert log.line["message"] == "one"
    setup.close()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"level": "LOUD"}, "'LOUD' is no level"),
        ({"level": None}, "None is no level"),
        ({"redact": "iban"}, "redact= and take_over= take several names"),
        ({"take_over": "uvicorn"}, "redact= and take_over= take several names"),
        ({"max_length": 10}, "max_length=10 would cut"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, complaint):
    """A wrong option is an error that says what to give, and changes nothing."""
    before = logging.getLogger().handlers[:]
    with pytest.raises(LogOptionError, match=complaint):
        configure_logging("shop", **options)
    assert logging.getLogger().handlers == before


def test_no_registry_counts_nothing(log, logger):
    """With `registry=None` lines are written and not counted."""
    log.configure(registry=None)
    logger.info("hello")
    assert log.line["message"] == "hello"
    assert log.counted("INFO", logger.name) is None


def test_counted_loggers_are_bounded(registry):
    """Loggers past the bound are counted together."""
    counter = MessageCounter(registry, max_series=3)
    for number in range(10):
        counter.handle(logging.makeLogRecord({"name": f"tests.{number}", "levelname": "INFO"}))
    series = {sample.labels["logger"] for metric in registry.collect() for sample in metric.samples
              if sample.name == "log_messages_total"}  # fmt: skip
    assert len(series) <= 4
    assert "__overflow__" in series


def test_counting_obeys_filters(registry):
    """A filter on the counter keeps records out of the figures."""
    counter = MessageCounter(registry)
    counter.addFilter(lambda record: record.name != "tests.noisy")
    for name in ("tests.noisy", "tests.calm"):
        counter.handle(logging.makeLogRecord({"name": name, "levelname": "INFO"}))
    assert registry.get_sample_value("log_messages_total", {"level": "INFO", "logger": "tests.noisy"}) is None
    assert registry.get_sample_value("log_messages_total", {"level": "INFO", "logger": "tests.calm"}) == 1


def test_formatter_in_a_configuration_of_ones_own():
    """The formatter can be named in `dictConfig`, and gives lines their fields without `configure_logging`."""
    printed = run_script(
        """
        import logging, logging.config
        from vitalsign.logs import log_context
        logging.config.dictConfig({
            "version": 1,
            "formatters": {"json": {"()": "vitalsign.logs.formatter.JsonFormatter", "service": "shop"}},
            "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"handlers": ["out"], "level": "INFO"},
        })
        with log_context(job_id=7):
            logging.getLogger("shop").info("hello")
        """
    )
    line = json.loads(printed)
    assert (line["service"], line["job_id"], line["message"]) == ("shop", 7, "hello")


def test_formatter_without_a_service_leaves_it_out():
    """A formatter that was told no service writes none."""
    line = json.loads(JsonFormatter().format(logging.makeLogRecord({"msg": "hello"})))
    assert "service" not in line


def test_lines_go_to_stderr_from_forked_children_too():
    """By default lines are on stderr, where it is at the time, and a forked child writes whole lines as well."""
    printed = run_script(
        """
        import logging, os
        from vitalsign.logs import configure_logging, log_context
        configure_logging("shop")
        log = logging.getLogger("shop")
        with log_context(job_id="parent"):
            children = []
            for number in range(4):
                pid = os.fork()
                if pid == 0:
                    with log_context(child=number):
                        for _ in range(100):
                            log.info("from a child")
                    os._exit(0)
                children.append(pid)
            for pid in children:
                os.waitpid(pid, 0)
            log.info("from the parent")
        """
    )
    lines = [json.loads(line) for line in printed.splitlines()]
    assert len(lines) == 401
    assert {line["job_id"] for line in lines} == {"parent"}
    assert [sum(line.get("child") == number for line in lines) for number in range(4)] == [100] * 4


def test_missing_library_names_the_command():
    """Without python-json-logger, importing the package works and configuring says what to install."""
    program = (
        "import sys; sys.modules['pythonjsonlogger'] = None\n"
        "from vitalsign.exceptions import MissingExtraError\n"
        "from vitalsign.logs import configure_logging\n"
        "try:\n    configure_logging('shop')\n"
        "except MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert 'pip install "vitalsign[logs]"' in done.stdout


def test_failures_of_counting_break_nothing(log, logger, monkeypatch):
    """If the counter fails, the line is written all the same."""
    (counter,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, MessageCounter)]
    monkeypatch.setattr(counter, "_messages", None)
    logger.info("hello")
    assert log.line["message"] == "hello"

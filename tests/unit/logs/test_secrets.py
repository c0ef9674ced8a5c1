"""What is never written."""

from __future__ import annotations

import pytest

from vitalsign.logs import log_context

SECRET = "hunter2-f00d"


@pytest.mark.parametrize(
    "key",
    [
        "password", "PASSWORD", "db_password", "PGPASSWORD", "passwd", "token", "accessToken", "access-token",
        "X-Api-Key", "apiKey", "api_key", "APIKEY", "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie",
        "cookies", "DATABASE_DSN", "dsn", "client_secret", "secrets", "aws_secret_access_key", "private_key",
        "session_id", "credentials", "jwt", "passphrase",
    ],
)  # fmt: skip
def test_values_of_secret_keys_are_hidden(log, logger, key):
    """A field whose name says that it is secret is written as ***, at whatever depth, and whatever its kind."""
    logger.info("a", extra={key: SECRET})
    logger.info("b", extra={"outer": {"list": [{key: [SECRET]}, (key, SECRET), (key.encode(), SECRET.encode())]}})
    with log_context(**{key: SECRET}):
        logger.info("c")
    assert SECRET not in log.stream.getvalue()
    assert log.lines[0][key] == "***"
    assert log.lines[1]["outer"]["list"] == [{key: "***"}, [key, "***"], [key, "***"]]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tokenizer", "bpe"),
        ("secretary", "Ann"),
        ("prompt_tokens", 17),
        ("has_password", True),
        ("token", None),
        ("monkey", "x"),
        ("keyboard", "x"),
        ("author", "x"),
    ],
)
def test_what_only_looks_like_a_secret_is_shown(log, logger, key, value):
    """Names that merely contain a secret one, counts and flags are written."""
    logger.info("hello", extra={key: value})
    assert log.line[key] == value


def test_keys_can_be_added(log, logger):
    """Fields that the host names are hidden too, in whatever style they are written."""
    log.configure(redact=["iban", "passport_number"])
    logger.info("hello", extra={"customerIban": SECRET, "Passport-Number": SECRET, "shipping": "x"})
    assert (log.line["customerIban"], log.line["Passport-Number"], log.line["shipping"]) == ("***", "***", "x")


@pytest.mark.parametrize(
    "text",
    [
        f"cannot reach postgresql://shop:{SECRET}@db/shop",
        f"password={SECRET} host=db",
        f"sent Authorization: Token {SECRET}",
        f"sent Bearer {SECRET}{SECRET}",
        f"sent Cookie: theme=dark; session={SECRET}",
    ],
)
def test_secrets_inside_texts_are_hidden(log, logger, text):
    """Credentials in a message, an argument, a field, an exception or its traceback are replaced."""
    logger.info(text)
    logger.info("because: %s", text)
    logger.info("a", extra={"why": {"text": text}})
    try:
        raise ConnectionError(text)
    except ConnectionError:
        logger.exception("failed")
    assert len(log.lines) == 4
    assert SECRET not in log.stream.getvalue()

"""Rate-limit headers: every style that is in use, and anything else that a server may send."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitalsign._rate_limit import RateLimit, rate_limits

NOW = 1_760_000_000.0
SOON = datetime.fromtimestamp(NOW + 90, UTC)


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        pytest.param(
            {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1760000090"},
            [RateLimit("requests", 60, 0, NOW + 90)],
            id="github",
        ),
        pytest.param(
            {"X-RATELIMIT-LIMIT": "100", "X-RATELIMIT-REMAINING": "99", "X-RATELIMIT-RESET": "1760000090000"},
            [RateLimit("requests", 100, 99, NOW + 90)],
            id="zoho-milliseconds",
        ),
        pytest.param(
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-limit-tokens": "150000",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-remaining-tokens": "149984",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            [RateLimit("requests", 60, 59, NOW + 1), RateLimit("tokens", 150_000, 149_984, NOW + 360)],
            id="openai",
        ),
        pytest.param(
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": SOON.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "anthropic-ratelimit-input-tokens-remaining": "39000",
            },
            [RateLimit("requests", 50, 49, NOW + 90), RateLimit("input_tokens", None, 39_000, None)],
            id="anthropic",
        ),
        pytest.param(
            {"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": "50", "RateLimit-Reset": "30"},
            [RateLimit("requests", 100, 50, NOW + 30)],
            id="ietf-draft-06",
        ),
        pytest.param(
            {"RateLimit": "limit=100, remaining=50, reset=30"},
            [RateLimit("requests", 100, 50, NOW + 30)],
            id="draft-07",
        ),
        pytest.param(
            {"RateLimit-Policy": '"default";q=100;w=60', "RateLimit": '"default";r=50;t=30'},
            [RateLimit("requests", 100, 50, NOW + 30)],
            id="draft-10",
        ),
        pytest.param(
            {"RateLimit": '"hour";r=900;t=1800, "minute";r=2;t=30'},
            [RateLimit("requests", None, 2, NOW + 1800)],
            id="closest-policy",
        ),
        pytest.param(
            {"X-RateLimit-Limit-Minute": "20", "X-RateLimit-Remaining-Minute": "19"},
            [RateLimit("minute", 20, 19, None)],
            id="kong",
        ),
        pytest.param({"x-rate-limit-remaining": "14"}, [RateLimit("requests", None, 14, None)], id="hyphenated"),
        pytest.param({"X-RateLimit-Reset-After": "1.5"}, [RateLimit("requests", None, None, NOW + 1.5)], id="discord"),
        pytest.param({"Retry-After": "120"}, [RateLimit("requests", None, None, NOW + 120)], id="retry-after-seconds"),
        pytest.param(
            {"Retry-After": format_datetime(SOON, usegmt=True)},
            [RateLimit("requests", None, None, NOW + 90)],
            id="retry-after-date",
        ),
        pytest.param({"x-ratelimit-reset-tokens": "20ms"}, [RateLimit("tokens", None, None, NOW + 0.02)], id="ms"),
        pytest.param(
            {"x-ratelimit-reset-tokens": "1h2m3.5s"}, [RateLimit("tokens", None, None, NOW + 3723.5)], id="hms"
        ),
    ],
)
def test_style_is_understood(headers, limits):
    """Each style that servers use gives quota, what is left, and when it starts again."""
    assert rate_limits(headers, NOW) == limits


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain", "X-Limit": "4", "X-RateLimit-Used": "5", "X-RateLimit-Resource": "core"},
        {"X-RateLimit-Remaining": "lots"},
        {"X-RateLimit-Remaining": "-1"},
        {"X-RateLimit-Remaining": "1e400"},
        {"X-RateLimit-Remaining": "9" * 400},
        {"X-RateLimit-Reset": "soon"},
        {"X-RateLimit-Reset": ""},
        {"Retry-After": "Someday, 99 Foo 2025 99:99:99 GMT"},
        {"RateLimit": "no structure at all"},
        {"x-ratelimit-remaining-of-a-resource-nobody-has-heard-of": "3"},
    ],
)
def test_what_says_nothing_is_left_out(headers):
    """Headers of other meaning, nonsense and unknown resources give no limits."""
    assert rate_limits(headers, NOW) == []


names = st.one_of(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["", "x-", "X-", "anthropic-"]),
            st.sampled_from(["ratelimit", "rate-limit", "RateLimit"]),
            st.sampled_from(["", "-limit", "-remaining", "-reset", "-reset-after", "-tokens-reset", "-policy"]),
            st.sampled_from(["", "-tokens", "-requests", "-minute", "-x"]),
        ),
    ),
    st.just("Retry-After"),
    st.text(max_size=20),
)
texts = st.one_of(
    st.text(max_size=40),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.datetimes(timezones=st.timezones()).map(format_datetime),
    st.from_regex(r"(\d{1,12}(ms|s|m|h|d)){1,4}"),
    st.from_regex(r'("[a-z]*";[rtqw]=\d{1,30}(, )?){1,3}'),
)


@given(st.dictionaries(names, texts, max_size=8))
def test_any_headers_are_survived(headers):
    """Whatever a server sends, reading it raises nothing, and gives finite numbers for few resources."""
    limits = rate_limits(headers, NOW)
    assert len(limits) <= 12
    for limit in limits:
        assert all(value is None or isfinite(value) for value in limit[1:])
        assert limit.quota is None or limit.quota >= 0
        assert limit.remaining is None or limit.remaining >= 0


@given(
    st.sampled_from(["X-RateLimit-{}", "RateLimit-{}", "x-rate-limit-{}", "X-RateLimit-{}-Tokens"]),
    st.integers(0, 10**15),
    st.integers(0, 10**15),
    st.integers(0, 10**6),
)
def test_numbers_come_through(style, quota, remaining, seconds):
    """Quota, rest and seconds until the reset are read as they were written, whatever the case of the names."""
    headers = {
        style.format("Limit"): str(quota),
        style.format("Remaining"): str(remaining),
        style.format("Reset"): str(seconds),
    }
    shouted = {name.upper(): text for name, text in headers.items()}
    (limit,) = rate_limits(headers, NOW)
    assert limit[1:] == (quota, remaining, NOW + seconds)
    assert rate_limits(shouted, NOW) == [limit]


@given(st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)))
def test_dates_come_through(moment):
    """HTTP dates and ISO dates are both read as the moment that they name."""
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    for text in (format_datetime(moment, usegmt=True), moment.isoformat(), moment.isoformat().replace("+00:00", "Z")):
        assert rate_limits({"Retry-After": text}, NOW) == [RateLimit("requests", None, None, moment.timestamp())]

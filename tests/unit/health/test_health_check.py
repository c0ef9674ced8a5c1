"""Definitions of checks and of what they return."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitalsign.exceptions import HealthCheckError, VitalsignError
from vitalsign.health import Check, HealthChecker, Result, Status
from vitalsign.health._check import judge


def nothing() -> None:
    """Pass."""


async def nothing_async() -> None:
    """Pass."""


@pytest.mark.parametrize(
    ("returned", "status"),
    [(None, "pass"), (True, "pass"), (False, "fail"), (Result("warn"), "warn"), (Result("fail", "full"), "fail")],
)
def test_what_a_check_may_return(returned: object, status: str) -> None:
    """None and True pass, False fails, a Result says for itself."""
    assert judge(returned).status == status


@pytest.mark.parametrize("returned", [0, 1, "ok", {"status": "pass"}, object()])
def test_anything_else_is_refused(returned: object) -> None:
    """A value that only looks true or false is an error that says what may be returned."""
    with pytest.raises(TypeError, match="a check returns None, a bool or a Result, not"):
        judge(returned)


def test_coroutine_that_nobody_awaited_is_refused() -> None:
    """A plain function that returns a coroutine is told to be declared as a coroutine function."""
    with pytest.raises(TypeError, match="declare it with 'async def'"):
        judge(nothing_async())


def test_unknown_is_no_status_of_a_result() -> None:
    """A result must take a side; the error names the choices."""
    with pytest.raises(HealthCheckError, match=r"'unknown' is no status of a result. Use 'pass', 'warn' or 'fail'."):
        Result("unknown")  # type: ignore[arg-type]


def test_result_takes_a_string_for_its_status() -> None:
    """The status of a result is a Status, however it was given."""
    assert Result("warn").status is Status.WARN


@given(st.one_of(st.floats(), st.complex_numbers(), st.lists(st.integers()), st.text(), st.none(), st.booleans()))
def test_value_of_a_result_is_what_json_can_carry(value: object) -> None:
    """Finite numbers, strings, bools and None stay as they are; all else becomes a string."""
    kept = Result(Status.PASS, value=value).value
    is_plain = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    assert kept == value if is_plain else kept == str(value)


def test_message_of_a_result_is_bounded() -> None:
    """A message of a megabyte does not go out with every probe."""
    assert len(Result(Status.FAIL, "x" * 1_000_000).message) == 1_000


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, 'quo"te', "new\nline", nothing])
def test_name_must_be_short_and_plain(name: Any) -> None:
    """A name that could not be a label or part of a path is refused, and so is a function in its place."""
    with pytest.raises(HealthCheckError, match=r"cannot name a check\. Give 1 to 64 letters"):
        Check(name, nothing)


@pytest.mark.parametrize("group", ["full", ("readiness", "full")])
def test_full_is_not_a_group_to_be_put_into(health: HealthChecker, group: Any) -> None:
    """The group 'full' is all checks; putting a check into it is refused with the alternatives."""
    with pytest.raises(HealthCheckError, match=r"cannot be put into 'full'.*Give 'liveness'"):
        health.check("disk", group=group)(nothing)


def test_check_in_no_group_is_refused() -> None:
    """A check that nothing would run is an error."""
    with pytest.raises(HealthCheckError, match="is in no group, so nothing would run it"):
        Check("disk", nothing, groups=())


@pytest.mark.parametrize("setting", ["timeout", "ttl", "failure_ttl"])
@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, "1", True])
def test_seconds_must_be_finite_and_not_negative(setting: str, seconds: Any) -> None:
    """A number of seconds that makes no sense is refused by the name of the setting."""
    with pytest.raises(HealthCheckError, match=f"{setting} of check 'disk' is .* must be a finite number of seconds"):
        Check("disk", nothing, **{setting: seconds})


def test_timeout_of_zero_is_refused_and_ttl_of_zero_is_not() -> None:
    """No check can answer in no time, but a result may be for one caller only."""
    assert Check("disk", nothing, ttl=0, failure_ttl=0).ttl == 0
    with pytest.raises(HealthCheckError, match="above 0"):
        Check("disk", nothing, timeout=0)


def test_generator_function_is_refused() -> None:
    """A check with a yield in it would never run, so it is refused when it is declared."""

    def generator() -> Any:
        yield

    async def async_generator() -> Any:
        yield

    for func in (generator, async_generator):
        with pytest.raises(HealthCheckError, match=r"is a generator function.* Use return, not yield"):
            Check("disk", func)


def test_what_cannot_be_called_is_refused() -> None:
    """The result of calling the check, given in place of the check, is refused."""
    with pytest.raises(HealthCheckError, match="needs a function to call, not None"):
        Check("disk", nothing())  # type: ignore[func-returns-value, arg-type]


class CallableObject:
    """A check that is an object."""

    async def __call__(self) -> None:
        """Pass."""


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (nothing, False),
        (nothing_async, True),
        (functools.partial(nothing_async), True),
        (CallableObject(), True),
        (CallableObject().__call__, True),
        (functools.partial(nothing), False),
    ],
)
def test_coroutine_functions_are_recognised(func: Any, expected: bool) -> None:
    """Coroutine functions, their partials and objects with an async __call__ run on a loop; the rest does not."""
    assert Check("disk", func).is_coroutine is expected


def test_external_check_cannot_decide_about_liveness() -> None:
    """A dependency that is down would restart every pod: the declaration is refused, with both ways out."""
    with pytest.raises(HealthCheckError, match=r"cannot decide about liveness.*'readiness', or give external=False"):
        Check("redis", nothing, groups=("liveness",), external=True)


def test_check_is_external_unless_it_is_about_liveness_or_says_so() -> None:
    """Without a word, a check of readiness looks at a dependency and one of liveness does not."""
    assert Check("db", nothing).is_external
    assert not Check("db", nothing, groups=("liveness", "readiness")).is_external
    assert not Check("warm", nothing, external=False).is_external


def test_errors_are_of_the_library_and_of_python() -> None:
    """Errors in declarations can be caught as VitalsignError and as ValueError."""
    assert issubclass(HealthCheckError, VitalsignError)
    assert issubclass(HealthCheckError, ValueError)


def test_name_is_taken_once(health: HealthChecker) -> None:
    """A second check of one name is refused, with the fix."""
    health.check("disk")(nothing)
    with pytest.raises(HealthCheckError, match=r"'shop' already has a check 'disk'.*another name="):
        health.check("disk")(nothing)


def test_decorator_returns_the_function_itself(health: HealthChecker) -> None:
    """A decorated check can still be called and tested by the host."""
    assert health.check("disk")(nothing) is nothing


def test_add_replaces_what_it_is_told_to(health: HealthChecker) -> None:
    """Settings given to add() go before those of the check; the others stay."""
    check = Check("disk", nothing, critical=False, timeout=3.0)
    added = health.add(check, name="data", group="liveness", ttl=0.0)
    assert added == Check("data", nothing, groups=("liveness",), critical=False, timeout=3.0, ttl=0.0)


@pytest.mark.parametrize("service", ["", None, 5])
def test_service_needs_a_name(service: Any) -> None:
    """A checker without a name for its service is refused."""
    with pytest.raises(HealthCheckError, match="cannot name a service"):
        HealthChecker(service, registry=None)


@pytest.mark.parametrize("setting", ["timeout", "deadline", "ttl", "failure_ttl"])
def test_settings_of_the_checker_are_validated(setting: str) -> None:
    """A negative number of seconds is refused by name."""
    with pytest.raises(HealthCheckError, match=f"^{setting} is -1"):
        HealthChecker("shop", registry=None, **{setting: -1})  # type: ignore[arg-type]

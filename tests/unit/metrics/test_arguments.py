"""Label values from the arguments of a call: the values that the function itself gets, in any way of passing them."""

from __future__ import annotations

import functools
import inspect
import logging
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from vitalsign.exceptions import LabelError
from vitalsign.metrics.arguments import FAILED, label_reader


class Call(NamedTuple):
    """A function and arguments that fit it."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@st.composite
def calls(draw) -> Call:
    """Draw a function of any signature that returns its arguments by name, and a call that it takes."""
    draw_bool = functools.partial(draw, st.booleans())
    positional_only, both, keyword_only = (draw(st.integers(0, 3)) for _ in range(3))
    positional = [f"p{number}" for number in range(positional_only)] + [f"b{number}" for number in range(both)]
    first_default = draw(st.integers(0, len(positional)))
    parts = [name if place < first_default else f"{name}='default'" for place, name in enumerate(positional)]
    if positional_only:
        parts.insert(positional_only, "/")
    star = draw_bool()
    optional = {f"k{number}": draw_bool() for number in range(keyword_only)}
    parts += ["*args"] if star else ["*"] if optional else []
    parts += [f"{name}='default'" if is_optional else name for name, is_optional in optional.items()]
    double_star = draw_bool()
    parts += ["**kwargs"] if double_star else []
    function = eval(f"lambda {', '.join(parts)}: locals()")

    values = iter(range(1000))
    by_place = draw(st.integers(min(positional_only, first_default), len(positional)))
    args = [next(values) for _ in range(by_place)]
    if star and by_place == len(positional):
        args += [next(values) for _ in range(draw(st.integers(0, 2)))]
    kwargs = {}
    for place, name in enumerate(positional):
        if place >= max(by_place, positional_only) and (place < first_default or draw_bool()):
            kwargs[name] = next(values)
    kwargs |= {name: next(values) for name, is_optional in optional.items() if not is_optional or draw_bool()}
    if double_star:
        extras = st.sets(st.sampled_from(["x", "args", "kwargs", "p0", "p1"]))
        kwargs |= {
            name: next(values) for name in sorted(draw(extras)) if not name.startswith("p") or name in positional
        }
    return Call(function, tuple(args), kwargs)


def reader_of_all(function):
    """Return a label reader with one label for each parameter of *function*."""
    labels = {name: eval(f"lambda {name}: {name}") for name in inspect.signature(function).parameters}
    return label_reader(function, labels)


@given(calls())
def test_arguments_are_those_that_the_function_gets(call):
    """For every signature and every call that fits it, label functions get what the function gets."""
    names = inspect.signature(call.function).parameters
    got = call.function(*call.args, **call.kwargs)
    assert reader_of_all(call.function)(call.args, call.kwargs) == tuple(got[name] for name in names)


@given(calls(), st.data())
def test_arguments_of_partials_are_those_that_the_function_gets(call, data):
    """Of a partial, label functions get the arguments that it leaves open, and by keyword those that it holds."""
    held = data.draw(st.integers(0, len(call.args)))
    can_be_held = sorted(name for name in call.kwargs if not name.startswith("p"))
    held_names = data.draw(st.sets(st.sampled_from(can_be_held))) if can_be_held else set()
    partial = functools.partial(call.function, *call.args[:held], **{name: call.kwargs[name] for name in held_names})
    args, kwargs = call.args[held:], {name: call.kwargs[name] for name in call.kwargs.keys() - held_names}
    got = partial(*args, **kwargs)
    read = dict(zip(inspect.signature(partial).parameters, reader_of_all(partial)(args, kwargs), strict=True))
    assert all(got[name] == value for name, value in read.items() if name not in ("args", "kwargs"))


def test_texts_stand_for_themselves():
    """A label that is a text has that value at every call, alone or beside computed ones."""

    def checkout(cart): ...

    assert label_reader(checkout, {"plan": "free"})((), {}) == ("free",)
    assert label_reader(checkout, {"plan": "free", "cart": lambda cart: cart})((1,), {}) == ("free", 1)


def test_label_function_may_name_several_arguments():
    """A label function gets all arguments that it names, by name alone if it asks for that."""

    def checkout(cart, *, plan="free", coupon=None): ...

    def label(plan, *, cart):
        return f"{plan} {cart}"

    assert label_reader(checkout, {"x": label})(("full",), {"coupon": 1}) == ("free full",)


def test_label_function_keeps_defaults_that_are_no_arguments():
    """A parameter of a label function that is no argument of the call keeps its default, wherever it stands."""

    def checkout(cart): ...

    def label(prefix="plan", cart=None):
        return f"{prefix} {cart}"

    assert label_reader(checkout, {"x": label})(("full",), {}) == ("plan full",)


def test_label_functions_see_self_and_cls():
    """The first argument of a method is an argument like others."""

    class Shop:
        name = "corner"

        def sell(self, item): ...

    assert label_reader(Shop.sell, {"x": lambda self: self.name})((Shop(), 1), {}) == ("corner",)


@pytest.mark.parametrize(
    ("label", "complaint"),
    [
        (lambda basket: basket, "takes basket, but it gets only arguments of .*checkout, by their names: cart, plan"),
        (lambda cart, basket: basket, "takes basket"),
        (lambda *cart: cart, r"takes \*cart"),
        (lambda **plan: plan, r"takes \*\*plan"),
        (lambda cart, /: cart, "takes cart, but it gets only arguments .* by their names"),
        (str, "Label 'x' cannot be computed from arguments: <class 'str'> does not tell what it takes"),
    ],
)
def test_label_function_that_cannot_be_called_is_refused(label, complaint):
    """A label function that asks for what it cannot be given is an error that names the arguments there are."""

    def checkout(cart, plan): ...

    with pytest.raises(LabelError, match=complaint):
        label_reader(checkout, {"x": label})


def test_label_function_on_a_function_without_arguments_is_refused():
    """On a function that takes nothing, the error says so."""
    with pytest.raises(LabelError, match="by their names: there are none"):
        label_reader(lambda: None, {"x": lambda cart: cart})


def test_function_that_hides_its_arguments_is_refused():
    """A function written in C that tells no signature cannot have computed labels; with texts it can."""
    with pytest.raises(LabelError, match=r"<class 'dict'> does not tell what it takes. Put a function"):
        label_reader(dict, {"x": lambda cart: cart})
    assert label_reader(dict, {"x": "text"})((), {}) == ("text",)


def test_failing_label_function_gives_error_label(caplog):
    """A label whose function raises has the value __error__; the failure is logged once and counted each time."""

    def failing_label(cart): ...

    where = {"where": "label x of test_failing_label_function_gives_error_label.<locals>.failing_label"}
    read = label_reader(failing_label, {"x": lambda cart: cart.plan, "y": lambda cart: cart})
    with caplog.at_level(logging.ERROR, "vitalsign"):
        assert [read((1,), {}), read((2,), {})] == [(FAILED, 1), (FAILED, 2)]
    assert REGISTRY.get_sample_value("vitalsign_internal_errors_total", where) == 2
    assert [record.exc_info[0] for record in caplog.records] == [AttributeError]


@pytest.mark.parametrize("function", [lambda cart: cart, lambda *, cart: cart, lambda cart, /: cart])
def test_missing_argument_gives_error_label(function):
    """Where the call lacks the argument, and will fail for it, the label has the value __error__."""
    assert label_reader(function, {"x": lambda cart: cart})((), {}) == (FAILED,)

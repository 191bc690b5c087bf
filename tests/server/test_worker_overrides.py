"""Methods that the worker overrides exist in gunicorn's base class with the same signature.

gunicorn may rename a method in any release. Its override would then never be called again, without an error.
"""

from __future__ import annotations

import inspect
import sys
from types import FunctionType

import pytest
from gunicorn.workers.base import Worker

from app.server.worker import EnvelopeWorker

OWN_PREFIXES = ("app.", "tests.")
BASES = [base for base in EnvelopeWorker.__mro__[1:] if not base.__module__.startswith(OWN_PREFIXES)]
OURS = [cls for cls in EnvelopeWorker.__mro__ if cls.__module__.startswith(OWN_PREFIXES)]
METHODS = {name: member for cls in OURS for name, member in vars(cls).items() if isinstance(member, FunctionType)}
# Our own modules call a method that is only ours; gunicorn alone calls an override.
SOURCE = "".join(inspect.getsource(sys.modules[cls.__module__]) for cls in OURS)
OVERRIDES = sorted(name for name in METHODS if f"self.{name}" not in SOURCE)


def in_base(name: str) -> object:
    return next((vars(base)[name] for base in BASES if name in vars(base)), None)


@pytest.mark.parametrize("name", OVERRIDES)
def test_an_override_exists_in_the_base_class(name: str) -> None:
    assert isinstance(in_base(name), FunctionType), f"gunicorn calls no method {name}: was it renamed?"


@pytest.mark.parametrize("name", sorted(name for name in METHODS if in_base(name)))
def test_an_override_has_the_signature_of_the_base_class(name: str) -> None:
    parameters = [(each.name, each.kind, each.default) for each in _parameters(METHODS[name])]
    assert parameters == [(each.name, each.kind, each.default) for each in _parameters(in_base(name))]


def _parameters(function: object) -> list[inspect.Parameter]:
    assert isinstance(function, FunctionType)
    return list(inspect.signature(function).parameters.values())


def test_the_rule_sees_the_overrides() -> None:
    assert issubclass(EnvelopeWorker, Worker)
    assert {"handle_error", "init_process"} <= set(OVERRIDES)

"""Runs calls that block, such as SQLite's and fsync, in native threads, so that gevent's event loop goes on.

Without gevent (the operator's commands, tests) such a call runs where it is made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class NativeThreads:
    """At most `count` native threads, started when they are needed, in each process that uses them.

    With a `count` of 0, calls run where they are made.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `function`, or its exception. Other greenlets run meanwhile."""
        if self._count == 0 or not _is_patched():
            return function(*args, **kwargs)
        result: T = self._pool.apply(function, args, kwargs)
        return result

    @cached_property
    def _pool(self) -> Any:
        from gevent.threadpool import ThreadPool

        return ThreadPool(self._count)


def _is_patched() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))

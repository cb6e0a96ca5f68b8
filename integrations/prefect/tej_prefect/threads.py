"""Blocking calls in asynchronous flows: a thread each, which hears of the cancel."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(
    function: Callable[[], Result], stop: threading.Event | None = None
) -> Result:
    """What `function` returns, called in a thread of its own.

    When the awaiting task is cancelled `stop` is set, and the thread is waited for: it
    may have a job to kill.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    context = copy_context()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome = (context.run(function), None)
        except BaseException as error:
            outcome = (None, error)  # type: ignore[assignment]
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="tej call", daemon=True).start()
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if stop is not None:
            stop.set()
            await asyncio.wait([future])
            future.exception()
        raise

"""Refusals are written in the event loop: one that is handed to a thread waits, under load, for the engine's own."""

from inspect import iscoroutinefunction

from bentos.http.app import create_app


def test_no_refusal_waits_for_a_thread():
    handlers = create_app().exception_handlers
    assert handlers and all(map(iscoroutinefunction, handlers.values()))

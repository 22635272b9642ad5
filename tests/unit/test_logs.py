"""The log: whatever is in a line, it is written, is one line, and does nothing to the terminal that shows it."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Literal

import orjson
import pytest
import structlog

from penstock.logs import configure_logs, get_logger, writes_debug
from penstock.visible import make_visible

HOSTILE = ["\x1b]0;owned\x07", "\x9b2J", "\u202egpj", "a\r\x00b", "bad \ud800 half", "\U000e0041"]


class _Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@contextmanager
def logging_to(log_format: Literal["json", "console"]) -> Iterator[io.StringIO]:
    """What the log writes meanwhile; it is set up as before afterwards."""
    stream = io.StringIO()
    handlers, before = logging.getLogger().handlers[:], structlog.get_config()
    logging.getLogger().handlers.clear()
    with redirect_stderr(stream):
        configure_logs(log_format, "info")
        structlog.configure(cache_logger_on_first_use=False)  # a module's logger would keep writing here
        yield stream
    logging.getLogger().handlers[:] = handlers
    structlog.configure(**before)


def _log(text: str) -> None:
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        get_logger("test").error("run.crashed", exc_info=error, said=text, nested=[{text: text}], error=error)
        logging.getLogger("library").warning("it said %s", text, exc_info=error)


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_hostile_text_is_logged_and_shown(text: str, log_format: Literal["json", "console"]) -> None:
    with logging_to(log_format) as written:
        _log(text)
    shown = written.getvalue()
    assert shown.count("run.crashed") == 1
    assert "it said" in shown
    plain = shown if log_format == "json" else shown.replace("\x1b[", "")  # its own colours
    assert make_visible(plain) == plain


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_line_of_json_is_one_object_with_the_text_in_it(text: str) -> None:
    with logging_to("json") as written:
        get_logger("test").info("run.finished", said=text)
    (line,) = written.getvalue().splitlines()
    if "\ud800" in text:
        assert "\\ud800" in line
    else:
        assert orjson.loads(line)["said"] == text


@pytest.mark.parametrize(
    "value",
    [2**70, {1: 2}, {("a", 1): 2}, float("nan"), _Wordless(), object(), [[[]]] * 3, b"\xff"],
    ids=lambda v: type(v).__name__,
)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_value_that_cannot_be_written_does_not_keep_a_line_from_the_log(
    value: object, log_format: Literal["json", "console"]
) -> None:
    with logging_to(log_format) as written:
        get_logger("test").info("run.finished", value=value)
    assert "run.finished" in written.getvalue()


def test_whether_a_logger_writes_debug_follows_the_level_that_is_set() -> None:
    before = structlog.get_config()
    with logging_to("json"):
        assert not writes_debug(get_logger("test"))
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
        assert writes_debug(get_logger("test"))
        structlog.configure(wrapper_class=structlog.BoundLogger)  # one that has no level, of the program that runs us
        assert writes_debug(get_logger("test"))
    assert structlog.get_config() == before

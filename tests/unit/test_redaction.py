"""Secrets are taken out of texts, values and encoded JSON, in each form in which they commonly turn up."""

import base64
import io
import json
import logging
from urllib.parse import quote, quote_plus

import orjson
import pytest
import structlog
from pydantic import JsonValue

from penstock.logs import configure_logs, get_logger
from penstock.redaction import LOG, Redactor

SECRET = 'p"ä\\ss/word +1\n'
REDACTOR = Redactor({"KEY": SECRET, "LONGER": SECRET + "x", "SHORT": "abc"}.items())


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        json.dumps(SECRET)[1:-1],
        json.dumps(json.dumps(json.dumps(SECRET)[1:-1])[1:-1])[1:-1],
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_every_form_of_a_secret_is_taken_out(form: str) -> None:
    assert REDACTOR.text(f"a {form} b") == "a [secret KEY] b"
    assert REDACTOR.value({"list": [form, 1, None, {f"k {form}": True}]}) == {
        "list": ["[secret KEY]", 1, None, {"k [secret KEY]": True}]
    }
    assert SECRET not in str(orjson.loads(REDACTOR.encoded(orjson.dumps({"a": form, form: 1}))))


def test_the_beginning_of_a_secret_in_a_text_that_was_cut_is_taken_out() -> None:
    redactor = Redactor({"KEY": SECRET}.items())
    assert redactor.text(f"it answered {SECRET[:7]}…") == "it answered [secret KEY]…"
    assert redactor.text("it answered p…") == "it answered p…"


def test_the_longer_of_two_secrets_is_taken_out_whole() -> None:
    assert REDACTOR.text(SECRET + "x") == "[secret LONGER]"


def test_what_holds_no_secret_stays_the_very_same() -> None:
    value: JsonValue = {"a": ["abc", 1.5, None], "b": {"c": "d" * 100}}
    assert REDACTOR.value(value) is value
    assert REDACTOR.value("abc") == "abc"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_the_log_tells_no_secret(log_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = f"very-secret-of-{log_format}"
    LOG.learn({"IT": secret})
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    handlers, before = logging.getLogger().handlers[:], structlog.get_config()
    logging.getLogger().handlers.clear()
    try:
        configure_logs("json" if log_format == "json" else "console", "info")
        local = secret * 2
        try:
            raise RuntimeError(f"cannot use {secret}")
        except RuntimeError as error:
            get_logger("test").error("run.crashed", exc_info=error, fields=[{"a": secret}], plain=secret, error=error)
            logging.getLogger("library").warning("it said %s", local, exc_info=error)
    finally:
        logging.getLogger().handlers[:] = handlers
        structlog.configure(**before)
    text = written.getvalue()
    assert "run.crashed" in text
    assert "it said" in text
    assert text.count("Traceback") == 2
    assert secret not in text

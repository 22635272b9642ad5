"""A trigger that names types of webhooks makes a warning where the webhooks of its source have none."""

import pytest

from penstock.reading.loader import load_files

HMAC = "{scheme: hmac, secrets: ['${secrets.S}'], header: X-Signature%s}"


def warnings(source: str, trigger: str) -> list[str]:
    files = {
        "app.yaml": f"app: shop\nsources:\n  partner: {source}\n",
        "workflows/w.yaml": f"workflow: placed\non:\n  webhook: {trigger}\nsteps:\n  - log: a\n",
    }
    result = load_files({name: text.encode() for name, text in files.items()})
    assert result.app is not None, result.problems
    return [f"{problem} {problem.hint}" for problem in result.problems]


@pytest.mark.parametrize(
    "source",
    [
        HMAC % "",
        "{scheme: token, secrets: ['${secrets.S}']}",
        "{scheme: basic, secrets: ['${secrets.S}']}",
        "{scheme: none}",
    ],
)
def test_types_that_nothing_can_have_are_warned_of(source: str) -> None:
    (warning,) = warnings(source, "{source: partner, types: [order.placed]}")
    assert "no webhook of 'partner' starts 'placed'" in warning
    assert "type: {payload: type}" in warning
    assert warning.startswith("workflows/w.yaml:1")


@pytest.mark.parametrize(
    ("source", "trigger"),
    [
        (HMAC % ", type: {payload: type}", "{source: partner, types: [order.placed]}"),
        (HMAC % ", type: {header: X-Event}", "{source: partner, types: [order.placed]}"),
        (HMAC % "", "{source: partner}"),
        (HMAC % "", "{source: partner, types: ['*']}"),
        ("{scheme: stripe, secrets: ['${secrets.S}']}", "{source: partner, types: [invoice.paid]}"),
    ],
)
def test_types_that_a_delivery_can_have_and_none_at_all_are_not(source: str, trigger: str) -> None:
    assert warnings(source, trigger) == []

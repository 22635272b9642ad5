"""Sources that rely on a header which their signature does not cover are warned of, and only those."""

import pytest

from penstock.reading.loader import load_files

HMAC = "scheme: hmac, secrets: ['${secrets.S}'], header: X-Signature"
ID = "deduplicate: {header: X-Event-Id}"
TIME = "timestamp: {header: X-Time}"


def warnings(source: str) -> list[str]:
    result = load_files({"app.yaml": f"app: shop\nsources:\n  partner: {{{source}}}\n".encode()})
    assert result.app is not None, result.problems
    return [str(problem) for problem in result.problems]


@pytest.mark.parametrize(
    ("source", "header"),
    [
        (f"{HMAC}, {ID}", "X-Event-Id"),
        (f'{HMAC}, {ID}, {TIME}, signed: "{{timestamp}}.{{body}}"', "X-Event-Id"),
        (f"scheme: stripe, secrets: ['${{secrets.S}}'], {ID}", "X-Event-Id"),
        (f"{HMAC}, {TIME}", "X-Time"),
    ],
)
def test_an_id_or_a_time_that_is_not_signed_is_warned_of(source: str, header: str) -> None:
    (warning,) = warnings(source)
    assert warning.startswith("app.yaml:3: the signature of the source 'partner' does not cover its ")
    assert f", the header {header}, which anybody may change; " in warning


@pytest.mark.parametrize(
    "source",
    [
        "scheme: stripe, secrets: ['${secrets.S}']",
        "scheme: github, secrets: ['${secrets.S}']",
        HMAC,
        f"{HMAC}, deduplicate: {{payload: data.id}}",
        f'{HMAC}, {ID}, signed: "{{id}}.{{body}}"',
        f'{HMAC}, {ID}, {TIME}, signed: "{{id}}.{{timestamp}}.{{body}}"',
    ],
)
def test_what_is_signed_is_not(source: str) -> None:
    assert warnings(source) == []

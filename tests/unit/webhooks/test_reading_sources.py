"""What is wrong with a source, by file and line, and what its author should know."""

from pathlib import Path

import pytest

from penstock.reading.loader import Severity, load_app, load_files
from tests.integration.webhooks.authorities import make_identity

JWT = "scheme: jwt, issuer: 'https://idp.example.com', audience: x"
SECRETS = "secrets: ['${secrets.A}']"
KEYS = "jwks: 'https://idp.example.com/keys'"


def problems(source: str, severity: Severity = Severity.ERROR) -> list[str]:
    result = load_files({"app.yaml": f"app: a\nsources:\n  s: {{{source}}}\n".encode()})
    return [str(problem).removeprefix("app.yaml:3: ") for problem in result.problems if problem.severity is severity]


@pytest.mark.parametrize(
    ("source", "start"),
    [
        (f"scheme: slack, {SECRETS}, url: 'https://a.example'", "unknown key 'url'; known are deduplicate, scheme,"),
        (f"scheme: github, {SECRETS}, tolerance: 5m", "unknown key 'tolerance'; known are deduplicate"),
        (f"scheme: sns, {SECRETS}", "unknown key 'secrets'"),
        (f"scheme: twilio, {SECRETS}", "the source 's' needs 'url'; such as url: https://"),
        (f"scheme: square, {SECRETS}, url: hooks", "'url': 'hooks' is not a URL; such as https://"),
        (f"scheme: hubspot, {SECRETS}, url: 'https://[::1'", "'url': 'https://[::1' is not a URL"),
        (f"scheme: meta, {SECRETS}", "the source 's' needs 'verify_token'; such as verify_token: ${secrets."),
        ("scheme: discord", "the source 's' needs 'secrets'; such as secrets: ["),
        ("scheme: pubsub", "the source 's' needs 'audience'; such as audience: https://"),
        (JWT, "the source 's' needs 'jwks'; such as jwks: https://idp.example.com/.well-known/jwks.json, or secrets"),
        (f"{JWT}, {KEYS}, {SECRETS}", "the source 's' needs either 'jwks' or 'secrets', not both"),
        (f"scheme: jwt, {KEYS}, audience: x", "the source 's' needs 'issuer'"),
        ("scheme: sns, trust: {hosts: ['https://a.example']}", "'https://a.example' is not a host; such as *."),
        ("scheme: sns, trust: {ca: missing.pem}", "'ca': 'missing.pem' cannot be read (No such file or directory)"),
        ("scheme: sns, trust: {ca: pyproject.toml}", "'ca': 'pyproject.toml' cannot be read ("),
        ("scheme: sns, trust: {host: a}", "unknown key 'host'"),
        (f"scheme: slack, {SECRETS}, tolerance: 31d", "'tolerance': at most 30d"),
        (f"scheme: hmac, {SECRETS}, header: X, timestamp: {{header: T, tolerance: 31d}}", "'tolerance': at most 30d"),
        (
            f"scheme: hmac, {SECRETS}, header: X, timestamp: {{header: T, prefix: t=}}",
            "a time with a prefix stands in the signature's header; write header: X",
        ),
        (f"scheme: hmac, {SECRETS}, header: X, key: base32", "unknown key 'base32'"),
    ],
)
def test_what_is_wrong_with_a_source(source: str, start: str) -> None:
    found = problems(source)
    assert any(problem.startswith(start) for problem in found), found


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("scheme: sns", "can send to the source 's'; list who may under `senders`: the ARNs"),
        ("scheme: pubsub, audience: x", "everybody with an account there can send"),
        (f"{JWT}, jwks: 'http://idp.example.com/keys'", "keys that come over http can be changed on their way"),
        (f"scheme: mailgun, {SECRETS}, deduplicate: {{payload: event-data.id}}", "not cover its id, event-data.id"),
        ("scheme: paypal, secrets: [ID], deduplicate: {payload: id}", "does not cover its id, id in the payload"),
        (f"scheme: slack, {SECRETS}, deduplicate: {{header: X-Id}}", "does not cover its id, the header X-Id"),
        ("scheme: slack, secrets: [abc]", "a secret"),
    ],
)
def test_what_the_author_of_a_source_should_know(source: str, part: str) -> None:
    (warning,) = problems(source, Severity.WARNING)
    assert part in warning
    assert problems(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "scheme: sns, senders: [arn]",
        "scheme: pubsub, audience: [x, y], senders: [a@b]",
        f"{JWT}, {KEYS}",
        f"{JWT}, {SECRETS}, senders: a, tolerance: 0.5m",
        "scheme: discord, secrets: [98af]",
        "scheme: paypal, secrets: [1JE42], tolerance: 1d",
        "scheme: none",
        f"scheme: token, {SECRETS}, header: X-Token",
        f"scheme: standard_webhooks, {SECRETS}, deduplicate: {{header: webhook-id}}",
        f"scheme: slack, {SECRETS}, deduplicate: {{payload: event.id}}",
    ],
)
def test_what_is_sound_is_not_remarked(source: str) -> None:
    assert problems(source) == problems(source, Severity.WARNING) == []


def test_the_authorities_of_a_source_are_read_from_a_file_of_the_app(tmp_path: Path) -> None:
    root = make_identity("root", is_authority=True)
    (tmp_path / "certificates").mkdir()
    (tmp_path / "certificates" / "ca.pem").write_bytes(root.pem)
    trust = "{hosts: ['*.example.com', 'localhost:8443'], ca: certificates/ca.pem}"
    (tmp_path / "app.yaml").write_text(f"app: a\nsources: {{s: {{scheme: paypal, secrets: [ID], trust: {trust}}}}}\n")
    app = load_app(tmp_path).app
    assert app is not None
    trusted = app.sources["s"].trust
    assert trusted is not None
    assert (trusted.hosts, trusted.ca) == (("*.example.com", "localhost:8443"), root.pem.decode())

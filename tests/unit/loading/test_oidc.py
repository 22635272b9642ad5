"""`oidc` of app.yaml: whose tokens are trusted, word for word."""

import pytest

from penstock.definitions.oidc import DEFAULT_ALGORITHMS, Oidc
from penstock.reading.loader import load_files
from tests.unit.loading.reading import problems

HEAD = "app: shop\noidc:\n"
GOOD = "  issuer: https://login.example.com\n  audience: shop\n"


def test_an_issuer_is_read_with_what_it_leaves_out() -> None:
    result = load_files({"app.yaml": (HEAD + GOOD).encode()})
    assert result.app is not None
    assert result.app.oidc == Oidc(issuer="https://login.example.com", audience=("shop",))
    assert result.app.oidc.algorithms == DEFAULT_ALGORITHMS
    assert result.app.oidc.creates_users


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("  audience: shop\n", "app.yaml:2: 'oidc' needs 'issuer'"),
        ("  issuer: https://login.example.com\n", "app.yaml:2: 'oidc' needs 'audience'"),
        ("  issuer: login.example.com\n  audience: shop\n", "app.yaml:3: 'issuer': 'login.example.com' is not a URL"),
        (GOOD + "  algorithms: [HS256]\n", "app.yaml:5: unknown algorithm 'HS256'"),
        (GOOD + "  algorithms: [none]\n", "app.yaml:5: unknown algorithm 'none'"),
        (GOOD + "  users: all\n", "app.yaml:5: unknown users 'all'"),
        (GOOD + "  roles: admin\n", "app.yaml:5: unknown key 'roles'"),
        (GOOD + "  jwks: http://login.example.com/keys\n", "app.yaml:5: keys that come over http can be changed"),
    ],
)
def test_what_is_wrong_with_an_issuer(given: str, problem: str) -> None:
    found = problems(app=HEAD + given, types="")
    assert any(problem in one for one in found), found

"""`penstock token` as people and scripts use it."""

from typing import cast

import pytest

from tests.acceptance.console import clean_environment, penstock


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    """What the command line needs to find the database."""
    return clean_environment(PENSTOCK_DATABASE_URL=database_url)


async def test_a_token_is_made_listed_by_prefix_revoked_and_gone(environment: dict[str, str]) -> None:
    wanted = ("--role", "viewer", "-e", "live", "--label", "ops laptop", "--expires", "30d", "--no-payloads")
    made = (await penstock("token", "create", *wanted, "--json", environment=environment)).json
    assert {"id", "token", "user", "role", "environment", "expires_at"} <= made.keys()
    assert (made["role"], made["environment"], made["user"], made["payloads"]) == ("viewer", "live", None, False)
    listed = await penstock("token", "list", environment=environment)
    assert "viewer: ops laptop" in listed.out
    assert str(made["token"]) not in listed.out
    revoked = await penstock("token", "revoke", str(made["id"])[:13], environment=environment)
    assert (revoked.code, str(made["id"]) in revoked.out) == (0, True)
    assert "there is no token" in (await penstock("token", "list", environment=environment)).out
    audit = (await penstock("audit", "-e", "live", "--json", environment=environment)).json
    acts = cast("list[dict[str, object]]", audit["results"])
    assert [act["action"] for act in acts] == ["token.revoke", "token.create"]


async def test_piped_it_prints_the_token_alone(environment: dict[str, str]) -> None:
    made = await penstock("token", "create", environment=environment)
    assert (made.code, made.out.startswith("pst_"), made.out.count("\n")) == (0, True, 1)


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (("--user", "nobody@example.com"), 1, "development has no user with the id or email 'nobody@example.com'"),
        (("--user", "ada@example.com", "--role", "admin"), 2, "a user's token has no role"),
        (("--expires", "soon"), 2, "is not a duration"),
        (("--expires", "0s"), 2, "longer than that"),
        (("--label", "x" * 101), 2, "at most 100 characters"),
        (("--role", "owner"), 2, "owner"),
        (("--workflow", ""), 2, "this is empty"),
        (("--type", "order", "--type", ""), 2, "this is empty"),
        (("--user", ""), 2, "this is empty"),
        (("--label", "\udcff"), 2, "not text in UTF-8"),
    ],
)
async def test_what_cannot_be_a_token_is_refused(
    environment: dict[str, str], given: tuple[str, ...], code: int, said: str
) -> None:
    outcome = await penstock("token", "create", *given, environment=environment)
    assert outcome.code == code
    assert said in " ".join(outcome.err.replace("│", " ").split())

"""Signing up, logging in and logging out, as the users of an app see it."""

from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock.testing import AppUnderTest
from penstock.testing.replies import Reply
from tests.integration.accounts.apps import OTHER, PASSWORD, post

ADA = "Ada@Example.com"


def response_of(reply: Reply) -> dict[str, JsonValue]:
    """What the workflow returned."""
    body = reply.json()
    assert (reply.status, isinstance(body, dict)) == (200, True), reply.body
    assert isinstance(body, dict)
    assert isinstance(body["response"], dict)
    return body["response"]


def message_of(reply: Reply) -> tuple[int, object]:
    """The status of a refusal and its message."""
    body = reply.json()
    assert isinstance(body, dict)
    assert isinstance(body["body"], dict)
    return reply.status, body["body"]["message"]


async def sign_up(app: AppUnderTest, email: str = ADA) -> dict[str, JsonValue]:
    """A new user's session."""
    return response_of(await post(app, "sign_up", email=email, password=PASSWORD, name="Ada"))


async def log_in(app: AppUnderTest, email: str = ADA) -> str:
    """A new session's token."""
    return str(response_of(await post(app, "log_in", email=email, password=PASSWORD))["token"])


async def test_who_signs_up_gets_a_session_as_bubble_answers_it(app: AppUnderTest) -> None:
    session = await sign_up(app)
    assert session.keys() == {"token", "user_id", "expires"}
    assert str(session["token"]).startswith("pst_")
    assert session["expires"] == 86_400
    who = response_of(await post(app, "who", str(session["token"])))
    assert who == {"id": session["user_id"], "name": "Ada", "email": "ada@example.com"}
    user = (await app.find("user"))[0]
    assert user["Created By"] == user.id


async def test_who_has_signed_up_logs_in_with_the_email_in_any_case(app: AppUnderTest) -> None:
    session = await sign_up(app)
    answer = response_of(await post(app, "log_in", email="ADA@example.COM", password=PASSWORD))
    assert answer["text_of_it"] == f"token={answer['token']}"
    assert answer["token"] != session["token"]
    assert response_of(await post(app, "who", str(answer["token"])))["id"] == session["user_id"]


async def test_a_redirect_carries_the_token_as_it_is(app: AppUnderTest) -> None:
    await sign_up(app)
    url = f"{app.url}/api/1.1/wf/log_in_inside"
    async with app._house.http.post(url, json={"email": ADA, "password": PASSWORD}, allow_redirects=False) as response:
        target = response.headers["Location"]
    assert response.status == 302
    assert target.startswith("https://shop.example.com/in?token=pst_")
    assert response_of(await post(app, "who", target.partition("=")[2]))["name"] == "Ada"


async def test_a_wrong_password_and_an_unknown_email_are_answered_alike(app: AppUnderTest) -> None:
    await sign_up(app)
    for email, password in ((ADA, OTHER), ("nobody@example.com", PASSWORD), (ADA, "x"), (ADA, "x" * 1024)):
        reply = await post(app, "log_in", email=email, password=password)
        assert message_of(reply) == (401, "the email or the password is wrong")


async def test_an_email_that_somebody_has_cannot_be_signed_up_again(app: AppUnderTest) -> None:
    await sign_up(app)
    await app.create("user", {"email": "Grace@example.com"})  # by an import, without a password
    for email in ("ada@EXAMPLE.com", "grace@example.com"):
        status, message = message_of(await post(app, "sign_up", email=email, password=OTHER))
        assert (status, message) == (400, f"there is an account of {email.lower()} already")
    assert await app.count("user") == 2


@pytest.mark.parametrize(
    ("email", "password", "message"),
    [
        ("ada", PASSWORD, "the email: 'ada' is not a mail address"),
        ("a@example.com, b@example.com", PASSWORD, "the email: expected one mail address, got 2"),
        (ADA, "short", "a password has at least 8 characters"),
        (ADA, "x" * 1025, "Invalid value for parameter password: a password has at most 1024 bytes"),
        (ADA, "", "Invalid value for parameter password: expected a password, got an empty text"),
    ],
)
async def test_what_cannot_be_an_account_is_refused(app: AppUnderTest, email: str, password: str, message: str) -> None:
    status, said = message_of(await post(app, "sign_up", email=email, password=password))
    assert status == 400
    assert str(said).startswith(message)
    assert await app.count("user") == 0


async def test_the_account_of_a_deleted_user_ends_and_its_email_is_free(app: AppUnderTest) -> None:
    first = await sign_up(app)
    async with app._house.database.connection() as conn:
        await conn.execute('DELETE FROM development."user"')
    reply = await post(app, "log_in", email=ADA, password=PASSWORD)
    assert message_of(reply) == (401, "the email or the password is wrong")
    assert (await post(app, "who", str(first["token"]))).status == 401
    second = await sign_up(app)
    assert second["user_id"] != first["user_id"]


async def test_logging_out_ends_this_session_the_others_or_all(app: AppUnderTest) -> None:
    await sign_up(app)
    first, second, third = [await log_in(app) for _ in range(3)]

    async def alive() -> list[bool]:
        return [(await post(app, "who", token)).status == 200 for token in (first, second, third)]

    assert response_of(await post(app, "log_out", first)) == {"ended": 1}
    assert await alive() == [False, True, True]
    assert response_of(await post(app, "log_out_others", second)) == {"ended": 2}  # the one of sign_up, too
    assert await alive() == [False, True, False]
    third = await log_in(app)
    assert response_of(await post(app, "log_out_all", third)) == {"ended": 2}
    assert await alive() == [False, False, False]


async def test_nobody_is_logged_out_who_is_not_logged_in(app: AppUnderTest) -> None:
    assert message_of(await post(app, "log_out_public")) == (400, "nobody is logged in who could be logged out")
    reply = await app.post("/api/1.1/wf/log_out_public", {}, headers=app.admin_headers)
    assert message_of(reply) == (400, "nobody is logged in who could be logged out")


async def test_a_session_holds_as_long_as_it_says_unless_nobody_uses_it(app: AppUnderTest) -> None:
    await sign_up(app)
    answer = response_of(await post(app, "long_session", email=ADA, password=PASSWORD, expires="365d"))
    assert answer["expires"] == 365 * 86_400
    token = str(answer["token"])
    for days, status in ((29, 200), (29, 200), (31, 401)):
        await app.advance(timedelta(days=days))
        assert (await post(app, "who", token)).status == status
    reply = await post(app, "long_session", email=ADA, password=PASSWORD, expires="400d")
    assert "`expires` goes up to 366d" in str(message_of(reply)[1])


async def test_a_retried_call_gets_the_same_token_again(app: AppUnderTest) -> None:
    await sign_up(app)
    body: dict[str, JsonValue] = {"email": ADA, "password": PASSWORD}
    headers = {"Idempotency-Key": "log-in-1"}
    replies = [await app.post("/api/1.1/wf/log_in", body, headers=headers) for _ in range(2)]
    assert response_of(replies[0]) == response_of(replies[1])
    assert replies[1].headers["Idempotent-Replayed"] == "true"
    wrong = await app.post("/api/1.1/wf/log_in", {**body, "password": OTHER}, headers=headers)
    assert wrong.status == 422


async def test_whoever_asks_later_gets_the_token_and_an_admin_does_not(app: AppUnderTest) -> None:
    await sign_up(app)
    body: dict[str, JsonValue] = {"email": ADA, "password": PASSWORD}
    reply = await app.post("/api/1.1/wf/log_in", body, headers={"Prefer": "respond-async"})
    assert reply.status == 202
    await app.wait_for(UUID(reply.headers["Penstock-Run-Id"]))
    path = f"/api/1.1/runs/{reply.headers['Penstock-Run-Id']}"
    assert b"pst_" in (await app.get(path)).body
    seen = await app.get(path, headers=app.admin_headers)
    assert seen.status == 200
    assert b"pst_" not in seen.body
    assert b"sealed." in seen.body

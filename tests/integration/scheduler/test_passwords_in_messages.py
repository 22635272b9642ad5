"""Passwords in messages and in the inbox: refused, and kept nowhere."""

import asyncpg
import pytest

from penstock_scheduler.loops.inbox import admit_inbox
from tests.integration.scheduling import ENVIRONMENT, Station
from tests.integration.test_secrets import dump

PASSWORD = "correct-horse-battery"
WORKFLOWS = """
workflow: notify
parameters: {email: text, password: {type: password, optional: true}}
steps: [{when: params.email == 'never', log_in: "${params.email}", password: "${params.password}"}]
---
workflow: plain
parameters: {password: text}
steps: []
"""


async def test_a_message_with_a_password_is_refused_and_not_put_into_the_dead_letters(station: Station) -> None:
    await station.deploy(WORKFLOWS)
    asked = {"email": "ada@example.com", "password": PASSWORD}
    async with station.scheduler():
        one = await station.ask(parameters=asked)
        several = await station.ask(parameters={"email": "ada@example.com"}, list={"items": [asked]})
        without = await station.ask(parameters={"email": "ada@example.com"})
    assert (one["code"], one["parameter"]) == ("unsealed_password", "password")
    assert "a password is taken only where it is encrypted before it is stored" in str(one["detail"])
    assert several["code"] == "unsealed_password"
    assert "run_id" in without
    assert station.dead.messages == []
    assert PASSWORD not in await dump(station.database)


async def test_the_inbox_takes_no_password_not_even_for_a_moment(station: Station) -> None:
    await station.deploy(WORKFLOWS)
    asked = f"""'{{"email": "ada@example.com", "password": "{PASSWORD}"}}'"""
    with pytest.raises(asyncpg.InvalidParameterValueError, match="the parameter 'password' of notify is a password"):
        await station.fetchval(f"SELECT penstock.schedule('{ENVIRONMENT}', 'notify', {asked})")
    null = """'{"email": "ada@example.com", "password": null}'"""
    for workflow, arguments in (("notify", null), ("plain", """'{"password": "a word"}'"""), ("none", "'{}'")):
        await station.fetchval(f"SELECT penstock.schedule('{ENVIRONMENT}', '{workflow}', {arguments})")
    await admit_inbox(station.furnish())
    assert len(await station.runs()) == 2
    assert PASSWORD not in await dump(station.database)


async def test_the_inbox_knows_what_is_a_password_in_what_is_deployed_now(station: Station) -> None:
    await station.deploy(WORKFLOWS)
    await station.deploy("""
workflow: notify
parameters: {email: text, password: {type: text, optional: true}}
steps: []
""")
    asked = f"""'{{"email": "ada@example.com", "password": "{PASSWORD}"}}'"""
    assert await station.fetchval(f"SELECT penstock.schedule('{ENVIRONMENT}', 'notify', {asked})") is not None

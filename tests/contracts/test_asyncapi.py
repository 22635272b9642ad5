"""The AMQP contract as published: `docs/asyncapi.yaml` is current, whole, and names nothing that does not exist."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from penstock.contracts.asyncapi import build_document, render_document
from penstock.contracts.messages import COMMANDS, EVENTS
from penstock.contracts.topology import DEAD_LETTER_EXCHANGE, EVENTS_EXCHANGE, topology
from penstock.domain.routing_keys import OWN_EVENTS

DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"


def test_the_document_is_what_the_code_says() -> None:
    assert DOCUMENT.read_text() == render_document(), "run `python -m penstock.contracts.asyncapi > docs/asyncapi.yaml`"


def test_every_reference_leads_somewhere() -> None:
    document = build_document()
    references = [str(value) for key, value in _walk(document) if key == "$ref"]
    assert len(references) >= 40
    for reference in references:
        place: JsonValue = document
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(place, dict)
            assert part in place, reference
            place = place[part]


def test_no_app_can_publish_under_the_keys_of_our_own_events() -> None:
    channels = build_document()["channels"]
    assert isinstance(channels, dict)
    keys = [
        channel["address"]
        for channel in channels.values()
        if isinstance(channel, dict) and EVENTS_EXCHANGE in str(channel)
    ]
    assert {str(key).split(".")[1] for key in keys} == {*OWN_EVENTS, "{key}"}


def test_every_message_is_described_and_belongs_to_an_operation() -> None:
    document = build_document()
    described = [value for key, value in _walk(document["components"]) if key == "name"]
    assert {*COMMANDS, *EVENTS} <= set(map(str, described))
    used = {str(value).rpartition("/")[2] for key, value in _walk(document["operations"]) if key == "$ref"}
    assert {model.__name__ for model in (*COMMANDS.values(), *EVENTS.values())} <= used


def test_every_exchange_is_described_but_the_one_of_the_dead_letters() -> None:
    channels = build_document()["channels"]
    named = {str(value["name"]) for key, value in _walk(channels) if key == "exchange" and isinstance(value, dict)}
    assert named == {exchange.name for exchange in topology().exchanges} - {DEAD_LETTER_EXCHANGE}


def _walk(value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)

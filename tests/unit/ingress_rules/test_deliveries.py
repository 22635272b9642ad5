"""What the ingress decides about a webhook's delivery: its type, its key, its payload, its secrets."""

import pytest
from multidict import CIMultiDict
from pydantic import JsonValue

from penstock.bodies import Undecodable, decode_payload
from penstock.definitions.models import App, WebhookTrigger, Workflow
from penstock.definitions.sources import Pick, Source, SourceTimestamp
from penstock.webhooks import SignedRequest
from penstock_ingress.rules.deliveries import Keys, SourcePlan, resolve_secret


def build_plan(source: Source, *types: str, secrets: dict[str, str] | None = None) -> SourcePlan:
    workflow = Workflow(name="w", webhooks=(WebhookTrigger(source=source.name, types=types or ("*",)),))
    return SourcePlan(source, App(name="a", sources={source.name: source}, workflows={"w": workflow}), secrets or {})


STRIPE = Source(name="s", scheme="stripe", secrets=("${secrets.S}",))
NO_HEADERS: CIMultiDict[str] = CIMultiDict()


@pytest.mark.parametrize(
    ("types", "kind", "is_wanted"),
    [
        (("invoice.paid",), "invoice.paid", True),
        (("invoice.paid",), "invoice.paid.twice", False),
        (("invoice.paid",), "invoiceXpaid", False),
        (("customer.*",), "customer.created", True),
        (("customer.*",), "customers", False),
        (("*.created", "x"), "a.b.created", True),
        (("x",), None, False),
        (("*",), None, True),
    ],
)
def test_types_match_with_stars(types: tuple[str, ...], kind: str | None, is_wanted: bool) -> None:
    assert bool(build_plan(STRIPE, *types).events.workflows_for((kind,) if kind else ())) is is_wanted


def keys(plan: SourcePlan, payload: JsonValue, headers: CIMultiDict[str] = NO_HEADERS, body: bytes = b"x") -> Keys:
    return plan.keys_of(SignedRequest("POST", "/", headers, body), payload, 1000.0)


def test_type_and_key_of_a_delivery_depend_on_the_scheme() -> None:
    payload: JsonValue = {"id": "evt_1", "type": "a.b", "data": {"id": 7, "kind": {"name": "k"}}}
    stripe = build_plan(STRIPE)
    assert (stripe.events.types_of(NO_HEADERS, payload), keys(stripe, payload)) == (
        ("a.b",),
        Keys("evt_1", event_id="evt_1"),
    )
    github = build_plan(Source(name="g", scheme="github", secrets=("x",)))
    headers = CIMultiDict({"x-github-event": "push", "X-GitHub-Delivery": "72d3162e"})
    assert (github.events.types_of(headers, payload), keys(github, payload, headers).dedup_key) == (
        ("push",),
        "72d3162e",
    )
    picks = {"type": Pick(payload="data.kind.name"), "deduplicate": Pick(payload="data.id")}
    partner = build_plan(Source(name="p", scheme="hmac", secrets=("x",), header="X", **picks))
    assert (partner.events.types_of(headers, payload), keys(partner, payload, headers)) == (
        ("k",),
        Keys("7", event_id="7"),
    )


def test_a_delivery_without_an_id_is_known_by_its_body_for_as_long_as_its_time_holds() -> None:
    plan, signed = build_plan(STRIPE), CIMultiDict({"Stripe-Signature": "t=1000,v1=00"})
    payloads: list[JsonValue] = [[], {}, {"id": None}, {"id": ""}, {"id": {"a": 1}}, "x"]
    for payload in payloads:
        found = keys(plan, payload, signed)
        assert (found.dedup_key[:7], found.signature_key, found.seconds) == ("sha256:", None, 300.0)
    assert keys(plan, {}, signed) != keys(plan, {}, signed, b"y")
    assert keys(plan, {}, CIMultiDict({"Stripe-Signature": "t=1200,v1=00"})).seconds == 500.0
    assert len(keys(plan, {"id": "x" * 5000}).dedup_key) < 100


TIMED = SourceTimestamp(header="X-Time", tolerance_seconds=60.0)


@pytest.mark.parametrize(
    ("signed", "timestamp", "seconds"),
    [
        ("{body}", None, 24 * 3600.0),
        ("{timestamp}.{body}", TIMED, 60.0),
        ("{body}", TIMED, 24 * 3600.0),  # anybody may change a time that is not signed
    ],
)
def test_how_long_the_same_body_is_a_copy(signed: str, timestamp: SourceTimestamp | None, seconds: float) -> None:
    source = Source(name="p", scheme="hmac", secrets=("x",), header="X", signed=signed, timestamp=timestamp)
    assert keys(build_plan(source), {}, CIMultiDict({"X-Time": "1000"})).seconds == seconds


@pytest.mark.parametrize(
    ("signed", "pick", "is_signed"),
    [
        ("{body}", Pick(header="X-Id"), False),
        ("{id}.{body}", Pick(header="X-Id"), True),
        ("{body}", Pick(payload="id"), True),
        ("{body}", None, True),
    ],
)
def test_where_the_id_is_not_signed_copies_are_known_by_what_is(
    signed: str, pick: Pick | None, is_signed: bool
) -> None:
    plan = build_plan(Source(name="p", scheme="hmac", secrets=("x",), header="X", signed=signed, deduplicate=pick))
    first, other, without = (
        keys(plan, {"id": "1"}, headers)
        for headers in (CIMultiDict({"X-Id": "1"}), CIMultiDict({"X-Id": "2"}), NO_HEADERS)
    )
    assert (first.signature_key is None) is is_signed
    assert first.signature_key == other.signature_key == without.signature_key


def test_payloads_are_json_or_forms() -> None:
    assert decode_payload(b'{"a": 1}', "application/json; charset=utf-8") == {"a": 1}
    assert decode_payload(b'{"a": 1}', "application/cloudevents+json") == {"a": 1}
    assert decode_payload(b"payload=%7B%7D&n=%00", "application/x-www-form-urlencoded") == {"payload": "{}", "n": "�"}
    for content_type in ("text/xml", "multipart/form-data; boundary=b"):
        with pytest.raises(Undecodable):
            decode_payload(b"<a/>", content_type)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${secrets.A}", "alpha"),
        ("whsec_${secrets.A}", "whsec_alpha"),
        ("${secrets.B}", None),
        ("whsec_${secrets.B}", None),
        ("${secrets.EMPTY}", None),
        ("${secrets.B ?? secrets.A}", "alpha"),
    ],
)
def test_a_secret_that_is_not_set_is_missing_as_a_whole(text: str, expected: str | None) -> None:
    assert resolve_secret(text, {"A": "alpha", "EMPTY": ""}) == expected


def test_a_source_knows_which_of_its_secrets_are_missing() -> None:
    source = Source(name="s", scheme="stripe", secrets=("${secrets.S}", "${secrets.OLD}"))
    assert build_plan(source).is_checkable is False
    plan = build_plan(source, secrets={"S": "x"})
    assert (plan.is_checkable, plan.missing) == (True, ("${secrets.OLD}",))

"""What the ingress decides about a webhook's delivery: its type, its key, its payload, its secrets."""

import pytest
from multidict import CIMultiDict
from pydantic import JsonValue

from penstock.definitions.models import App, Pick, Source, WebhookTrigger, Workflow
from penstock_ingress.rules.deliveries import SourcePlan, decode_payload, resolve_secret
from penstock_ingress.rules.undecodable import Undecodable


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
    assert bool(build_plan(STRIPE, *types).workflows_for(kind)) is is_wanted


def test_type_and_key_of_a_delivery_depend_on_the_scheme() -> None:
    payload: JsonValue = {"id": "evt_1", "type": "a.b", "data": {"id": 7, "kind": {"name": "k"}}}
    stripe = build_plan(STRIPE)
    assert (stripe.type_of(NO_HEADERS, payload), stripe.key_of(NO_HEADERS, payload, b"")) == ("a.b", "evt_1")
    github = build_plan(Source(name="g", scheme="github", secrets=("x",)))
    headers = CIMultiDict({"x-github-event": "push", "X-GitHub-Delivery": "72d3162e"})
    assert (github.type_of(headers, payload), github.key_of(headers, payload, b"")) == ("push", "72d3162e")
    picks = {"type": Pick(payload="data.kind.name"), "deduplicate": Pick(payload="data.id")}
    partner = build_plan(Source(name="p", scheme="hmac", secrets=("x",), header="X", **picks))
    assert (partner.type_of(headers, payload), partner.key_of(headers, payload, b"")) == ("k", "7")


def test_a_delivery_without_a_key_of_its_own_is_known_by_its_body() -> None:
    plan = build_plan(STRIPE)
    payloads: list[JsonValue] = [[], {}, {"id": None}, {"id": ""}, {"id": {"a": 1}}, "x"]
    for payload in payloads:
        assert plan.key_of(NO_HEADERS, payload, b"x").startswith("sha256:")
    assert plan.key_of(NO_HEADERS, {}, b"x") != plan.key_of(NO_HEADERS, {}, b"y")
    assert len(plan.key_of(NO_HEADERS, {"id": "x" * 5000}, b"")) < 100


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
    assert build_plan(source).has_secret is False
    plan = build_plan(source, secrets={"S": "x"})
    assert (plan.has_secret, plan.missing) == (True, ("${secrets.OLD}",))

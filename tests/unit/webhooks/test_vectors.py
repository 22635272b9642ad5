"""Requests whose signatures were checked with the providers' own libraries."""

import json
from typing import NotRequired, TypedDict, cast

import pytest
from pydantic import JsonValue

from penstock.webhooks import SignedRequest, Verdict, build_check, find_signed
from penstock.webhooks.provider_table import PROVIDERS
from penstock_ingress.rules.deliveries import SourcePlan
from tests.unit.webhooks.sources import BODY, DATA, NOW, load_source, make_plan, request_of


class Vector(TypedDict):
    """`source` are keys of app.yaml, `checked_with` is the library that accepted it."""

    name: str
    scheme: str
    secret: NotRequired[str]
    source: NotRequired[dict[str, JsonValue]]
    headers: dict[str, str]
    body: NotRequired[str]
    query: NotRequired[str]
    id: NotRequired[str]
    signed: NotRequired[str]
    checked_with: str


VECTORS = cast("list[Vector]", json.loads((DATA / "vectors.json").read_text()))
SECRET_ALONE = {"gitlab", "token"}
"""Schemes that sign nothing: who has the token can send what it wants."""
KEY_UNKNOWN = {"paypal", "pubsub"}
"""Schemes whose vectors come without the key that has signed: what is signed, or who is asked for, is looked at."""
KNOWN = [vector for vector in VECTORS if vector["scheme"] not in KEY_UNKNOWN]
BODY_OPEN = {"mailgun"}
"""Schemes whose signature does not cover the body."""


def plan_of(vector: Vector) -> SourcePlan:
    return make_plan(load_source(vector["scheme"], **vector.get("source", {})), vector.get("secret", ""))


def request_for(vector: Vector, body: bytes | None = None) -> SignedRequest:
    given = vector["body"].encode() if "body" in vector else BODY
    return request_of(vector["headers"], given if body is None else body, vector.get("query", ""))


@pytest.mark.parametrize("vector", KNOWN, ids=lambda vector: vector["name"])
def test_what_a_providers_own_library_accepts_is_genuine(vector: Vector) -> None:
    plan, request = plan_of(vector), request_for(vector)
    assert plan.missing == ()
    assert plan.check(request, NOW) is Verdict.GENUINE
    assert plan.event_id_of(request.headers, request.payload()) == vector.get("id")
    others = build_check(plan.source, ["another secret", *plan.secrets])
    assert others(request, NOW) is Verdict.GENUINE, "one of several secrets"
    assert make_plan(plan.source, "bm90aGluZw==").check(request, NOW) is not Verdict.GENUINE, "another secret"


@pytest.mark.parametrize("vector", KNOWN, ids=lambda vector: vector["name"])
def test_a_body_that_was_changed_is_forged(vector: Vector) -> None:
    plan, request = plan_of(vector), request_for(vector)
    if vector["scheme"] in SECRET_ALONE:
        assert plan.check(request_for(vector, request.body + b" "), NOW) is Verdict.GENUINE
        return
    if vector["scheme"] in BODY_OPEN:
        changed = request_for(vector, request.body.replace(b"delivered", b"delivereD"))
        assert plan.keys_of(changed, changed.payload(), NOW) == plan.keys_of(request, request.payload(), NOW)
        return
    for changed_body in (request.body + b"x", request.body[1:], b""):
        assert plan.check(request_for(vector, changed_body), NOW) is Verdict.FORGED
    swapped = "x=2" if request.query else ""
    if swapped:
        assert plan.check(request._replace(query=swapped), NOW) is Verdict.FORGED


def test_every_scheme_that_has_vectors_is_one() -> None:
    assert {vector["scheme"] for vector in VECTORS} <= set(PROVIDERS)


def test_twilio_may_sign_the_port_that_goes_without_saying() -> None:
    (vector,) = (vector for vector in VECTORS if vector["name"] == "twilio form")
    for host in ("hooks.example.test:443", "hooks.example.test"):
        source = load_source("twilio", url=f"https://{host}/in/abc")
        assert make_plan(source).check(request_for(vector), NOW) is Verdict.GENUINE
    for host in ("hooks.example.test:80", "hooks.example.test:8443", "other.example.test"):
        source = load_source("twilio", url=f"https://{host}/in/abc")
        assert make_plan(source).check(request_for(vector), NOW) is Verdict.FORGED


def test_what_paypal_signs_is_what_its_library_signs() -> None:
    (vector,) = (vector for vector in VECTORS if vector["scheme"] == "paypal")
    plan, request = plan_of(vector), request_for(vector)
    signed = find_signed(plan.source, request, plan.secrets)
    assert (signed.content, signed.moment) == (vector.get("signed", "").encode(), NOW)
    assert plan.check(request, NOW) is Verdict.FORGED, "without the certificate"


def test_a_token_of_google_is_checked_with_the_key_that_it_names() -> None:
    (vector,) = (vector for vector in VECTORS if vector["scheme"] == "pubsub")
    plan, request = plan_of(vector), request_for(vector)
    wanted = plan.want(request, NOW)
    assert wanted is not None
    assert (wanted.url, wanted.key_id) == ("https://www.googleapis.com/oauth2/v3/certs", "k1")
    assert plan.check(request, NOW) is Verdict.FORGED, "without the key"

"""One flipped bit, wherever: what our recipes sign is genuine, and nothing else is."""

import pytest
from multidict import CIMultiDict

from penstock.webhooks import SignedRequest, Verdict, build_check
from penstock.webhooks.provider_table import PROVIDERS
from penstock.webhooks.recipes import Recipe
from penstock.webhooks.sources import list_proofs
from tests.unit.webhooks.sources import (
    BODY,
    NOW,
    SIGNING,
    URL,
    flip,
    load_source,
    make_plan,
    secret_of,
    sign_for,
    verdict_of,
)

RECIPES = [scheme for scheme in SIGNING if isinstance(list_proofs(load_source(scheme))[-1], Recipe)]
OVER_BODY = [scheme for scheme in RECIPES if scheme != "mailgun"]


def recipe_of(scheme: str) -> Recipe:
    recipe = list_proofs(load_source(scheme))[0]
    assert isinstance(recipe, Recipe)
    return recipe


@pytest.mark.parametrize("scheme", SIGNING)
def test_what_our_own_recipe_signs_is_genuine_and_nothing_without_the_secret_is(scheme: str) -> None:
    request = sign_for(scheme)
    assert verdict_of(scheme, request) is Verdict.GENUINE
    assert build_check(load_source(scheme), ["b3RoZXI="])(request, NOW) is Verdict.FORGED
    assert build_check(load_source(scheme), [])(request, NOW) is Verdict.FORGED
    bare = request._replace(headers=CIMultiDict({"Content-Type": "application/json"}), body=BODY)
    assert verdict_of(scheme, bare) is Verdict.UNSIGNED


@pytest.mark.parametrize("scheme", OVER_BODY)
def test_one_flipped_bit_of_the_body_is_forged(scheme: str) -> None:
    request = sign_for(scheme)
    check = build_check(load_source(scheme), [secret_of(scheme)])
    for position in range(len(request.body) * 8):
        changed = request._replace(body=flip(request.body, position))
        # A form is signed as it is read: %e2 is %E2.
        if scheme != "twilio" or changed.payload() != request.payload():
            assert check(changed, NOW) is Verdict.FORGED, f"bit {position}"


@pytest.mark.parametrize("scheme", SIGNING)
def test_one_flipped_bit_of_what_proves_it_is_refused(scheme: str) -> None:
    request, check = sign_for(scheme), build_check(load_source(scheme), [secret_of(scheme)])
    names = {"Authorization", "X-Gitlab-Token"}
    for proof in list_proofs(load_source(scheme)):
        if isinstance(proof, Recipe) and proof.header in request.headers:
            times = (proof.time, proof.id) if "{id}" in proof.signed else (proof.time,)
            names |= {proof.header, *(where.header for where in times if where is not None and where.header)}
    for name in names & {str(name) for name in request.headers}:
        value = request.headers[name].encode()
        for position in range(len(value) * 8):
            changed = flip(value, position).decode("utf-8", "surrogateescape")
            if name == "Authorization" and position < 8 * len("Bearer"):
                continue  # the case of `Basic` and `Bearer` does not matter
            headers = CIMultiDict(request.headers)
            headers[name] = changed
            assert check(request._replace(headers=headers), NOW) is not Verdict.GENUINE, f"{name}: {changed}"


@pytest.mark.parametrize("scheme", [scheme for scheme in RECIPES if "url" in PROVIDERS[scheme].needs])
def test_one_flipped_bit_of_the_url_is_forged(scheme: str) -> None:
    request = sign_for(scheme)
    for position in range(8, len(URL) * 8, 3):
        changed = flip(URL.encode(), position).decode("latin-1")
        if request.query and changed.partition("?")[0] == URL.partition("?")[0]:
            continue  # the query that is signed is the request's own
        source = load_source(scheme).model_copy(update={"url": changed})
        assert build_check(source, [secret_of(scheme)])(request, NOW) is Verdict.FORGED, changed
    for query in ("x=0", "x=1&y=2", "y=1"):
        assert verdict_of(scheme, request._replace(query=query)) is Verdict.FORGED, query
    assert verdict_of(scheme, request._replace(query=request.query or "x=1")) is Verdict.GENUINE


@pytest.mark.parametrize("scheme", [scheme for scheme in RECIPES if recipe_of(scheme).time is not None])
def test_a_time_that_is_off_in_either_direction_is_refused(scheme: str) -> None:
    tolerance = recipe_of(scheme).tolerance_seconds
    for offset in (-tolerance, tolerance):
        assert verdict_of(scheme, sign_for(scheme, at=NOW + offset)) is Verdict.GENUINE
    for offset in (-tolerance - 1, tolerance + 1, -1e9, 1e9):
        assert verdict_of(scheme, sign_for(scheme, at=NOW + offset)) is Verdict.STALE
    source = load_source(scheme, tolerance="10s")
    check = build_check(source, [secret_of(scheme)])
    assert check(sign_for(scheme, at=NOW - 10), NOW) is Verdict.GENUINE
    assert check(sign_for(scheme, at=NOW - 11), NOW) is Verdict.STALE


@pytest.mark.parametrize("scheme", SIGNING)
def test_a_replay_is_known_by_its_keys_whatever_is_not_signed(scheme: str) -> None:
    plan, request = make_plan(load_source(scheme), secret_of(scheme)), sign_for(scheme)
    keys = plan.keys_of(request, request.payload(), NOW)
    assert plan.keys_of(request, request.payload(), NOW + 5)[:2] == keys[:2]
    assert keys.seconds >= 10
    for name in unsigned_headers(scheme, request):
        headers = CIMultiDict(request.headers)
        headers[name] = "another"
        changed = request._replace(headers=headers)
        assert plan.check(changed, NOW) is Verdict.GENUINE
        assert plan.keys_of(changed, changed.payload(), NOW).signature_key == keys.signature_key is not None


def unsigned_headers(scheme: str, request: SignedRequest) -> list[str]:
    """Headers with an id that no signature covers."""
    if scheme not in RECIPES or PROVIDERS[scheme].is_id_signed or scheme == "gitlab":
        return []
    places = [where.header for places in PROVIDERS[scheme].ids for where in places]
    return [name for name in places if name is not None and name in request.headers]


def test_the_unbranded_names_of_svix_and_the_newer_ones_of_shopify_are_known() -> None:
    standard = sign_for("standard_webhooks")
    assert verdict_of("svix", standard) is Verdict.GENUINE
    assert make_plan(load_source("svix"), secret_of("svix")).event_id_of(standard.headers, None) == "id_1"
    names = {"X-Shopify-Hmac-Sha256": "shopify-hmac-sha256", "X-Shopify-Webhook-Id": "shopify-webhook-id"}
    shopify = sign_for("shopify")
    headers = CIMultiDict((names.get(name, name), value) for name, value in shopify.headers.items())
    assert verdict_of("shopify", shopify._replace(headers=headers)) is Verdict.GENUINE


def test_gitlab_may_sign_instead_of_sending_its_token() -> None:
    signed = sign_for("standard_webhooks")
    check = build_check(load_source("gitlab"), [secret_of("standard_webhooks")])
    assert check(signed, NOW) is Verdict.GENUINE
    assert check(signed._replace(body=signed.body + b" "), NOW) is Verdict.FORGED
    assert check(signed, NOW + 301) is Verdict.STALE

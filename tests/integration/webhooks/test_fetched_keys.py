"""Schemes whose keys are fetched: certificates (PayPal, AWS SNS) and key sets (JWT, Google Pub/Sub), over real TLS."""

import asyncio
import json
import time
from base64 import b64encode
from binascii import crc32
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from jwt.algorithms import RSAAlgorithm

from penstock.outgoing.client import Outgoing
from penstock.webhooks.stored_keys import MAX_DOCUMENTS, KeyStore, Wanted
from penstock_ingress.accepting.keys import KeyFetcher, fetching_keys
from tests.integration.ingress import Answer, Ingress, running_ingress
from tests.integration.webhooks.authorities import DAY, Identity, Vault, make_identity, open_vault

ROOT = make_identity("root", is_authority=True)
MIDDLE = make_identity("middle", ROOT, is_authority=True)
SIGNER = make_identity("signer", MIDDLE)
SERVER = make_identity("localhost", ROOT)
OTHER_ROOT = make_identity("other root", is_authority=True)
STRANGER = make_identity("stranger", OTHER_ROOT)
EXPIRED = make_identity("expired", ROOT, ends=-1 * DAY)
WEAK = make_identity("weak", ROOT, bits=1024)
NO_AUTHORITY = make_identity("no authority", make_identity("leaf", ROOT))
TOPIC = "arn:aws:sns:eu-west-1:123456789012:orders"
WEBHOOK_ID = "1JE4291016473214C"
AUDIENCE = "https://hooks.example.com/webhooks/jwt"
ACCOUNT = "push@project.iam.gserviceaccount.com"
KEYS = {"k1": SIGNER, "k2": STRANGER}


def key_set(*names: str) -> bytes:
    keys = [
        {**RSAAlgorithm.to_jwk(KEYS[name].key.public_key(), as_dict=True), "kid": name, "use": "sig"} for name in names
    ]
    return json.dumps({"keys": keys}).encode()


DOCUMENTS = {
    "/signer.pem": (200, SIGNER.pem + MIDDLE.pem),
    "/alone.pem": (200, SIGNER.pem),
    "/stranger.pem": (200, STRANGER.pem + OTHER_ROOT.pem),
    "/expired.pem": (200, EXPIRED.pem),
    "/weak.pem": (200, WEAK.pem),
    "/no-authority.pem": (200, NO_AUTHORITY.pem),
    "/nothing.pem": (200, b"nothing"),
    "/broken.pem": (503, b""),
    "/large.pem": (200, SIGNER.pem + MIDDLE.pem + b" " * 300_000),
    "/signer.txt": (200, SIGNER.pem + MIDDLE.pem),
    "/jwks.json": (200, key_set("k1")),
    "/confirm": (200, b"<ok/>"),
}


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    async with open_vault(tmp_path, SERVER, DOCUMENTS) as opened:
        yield opened


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path, vault: Vault) -> AsyncIterator[Ingress]:
    app = tmp_path / "app"
    (app / "certificates").mkdir(parents=True)
    (app / "certificates" / "root.pem").write_bytes(ROOT.pem)
    trust = f"trust: {{hosts: ['127.0.0.1:{vault.port}'], ca: certificates/root.pem}}"
    (app / "app.yaml").write_text(
        f"""
app: fetched
sources:
  paypal: {{scheme: paypal, secrets: [OTHER, {WEBHOOK_ID}], {trust}}}
  sns: {{scheme: sns, senders: ["{TOPIC}"], {trust}}}
  jwt: {{scheme: jwt, issuer: "https://idp.example.com", audience: {AUDIENCE}, jwks: "{vault.url}/jwks.json", {trust}}}
  pubsub: {{scheme: pubsub, audience: [{AUDIENCE}], jwks: "{vault.url}/jwks.json", senders: ["{ACCOUNT}"], {trust}}}
"""
    )
    async with running_ingress(database_url, amqp_url, app, outgoing_allow="127.0.0.1/32") as running:
        yield running


def sign(signer: Identity, content: bytes, algorithm: type[HashAlgorithm] = SHA256) -> str:
    return b64encode(signer.key.sign(content, PKCS1v15(), algorithm())).decode()


async def send_paypal(
    ingress: Ingress, url: str, signer: Identity = SIGNER, other: Mapping[str, str] = MappingProxyType({})
) -> Answer:
    body, moment = b'{"id": "WH-1", "event_type": "PAYMENT.SALE.COMPLETED"}', datetime.now(UTC).isoformat()
    content = f"tid|{moment}|{WEBHOOK_ID}|{crc32(body)}".encode()
    headers = {
        "PAYPAL-TRANSMISSION-ID": "tid",
        "PAYPAL-TRANSMISSION-TIME": moment,
        "PAYPAL-TRANSMISSION-SIG": sign(signer, content),
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        "PAYPAL-CERT-URL": url,
        **other,
    }
    return await ingress.send("POST", "/webhooks/paypal", data=body, headers=headers)


def sns_message(vault: Vault, version: str = "2", **fields: str) -> dict[str, str]:
    message = {
        "Type": "Notification",
        "MessageId": "m1",
        "TopicArn": TOPIC,
        "Message": '{"order": 1}',
        "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "SignatureVersion": version,
        "SigningCertURL": f"{vault.url}/signer.pem",
        **fields,
    }
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    content = "".join(f"{name}\n{message[name]}\n" for name in names if name in message).encode()
    return {**message, "Signature": sign(SIGNER, content, SHA1 if version == "1" else SHA256)}


async def send_sns(ingress: Ingress, message: dict[str, str]) -> Answer:
    headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": message["Type"]}
    return await ingress.send("POST", "/webhooks/sns", data=json.dumps(message).encode(), headers=headers)


def make_token(claims: Mapping[str, object] = MappingProxyType({}), key: str = "k1") -> str:
    now = int(time.time())
    given = {"iss": "https://idp.example.com", "aud": AUDIENCE, "sub": "1", "iat": now, "exp": now + 300, **claims}
    document = json.dumps({name: value for name, value in given.items() if value is not None}).encode()
    return jwt.PyJWS().encode(document, KEYS[key].key, "RS256", headers={"kid": key})


async def send_token(ingress: Ingress, token: str, source: str = "jwt") -> int:
    body = json.dumps({"message": {"messageId": "1", "data": "e30="}, "n": token[-8:]}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return (await ingress.send("POST", f"/webhooks/{source}", data=body, headers=headers)).status


async def test_paypal_is_verified_with_a_certificate_that_is_fetched_once(ingress: Ingress, vault: Vault) -> None:
    answers = await asyncio.gather(*(send_paypal(ingress, f"{vault.url}/signer.pem") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert sum(not answer.json["duplicate"] for answer in answers) == 1
    assert vault.asked == ["/signer.pem"]


async def test_paypals_headers_with_another_body_of_the_same_checksum_are_a_copy(
    ingress: Ingress, vault: Vault
) -> None:
    assert (await send_paypal(ingress, f"{vault.url}/signer.pem")).json["duplicate"] is False
    key = await ingress.fetchval("SELECT signature_key FROM penstock.deliveries")
    assert key is not None, "what is signed is a key of its own"


@pytest.mark.parametrize(
    "change",
    [
        {"PAYPAL-TRANSMISSION-ID": "tie"},
        {"PAYPAL-TRANSMISSION-TIME": "2020-01-01T00:00:00Z"},
        {"PAYPAL-TRANSMISSION-SIG": b64encode(bytes(256)).decode()},
        {"PAYPAL-TRANSMISSION-SIG": "%%%"},
        {"PAYPAL-AUTH-ALGO": "none"},
        {"PAYPAL-CERT-URL": "https://example.com/signer.pem"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_paypal_has_not_signed_is_refused(ingress: Ingress, vault: Vault, change: dict[str, str]) -> None:
    answer = await send_paypal(ingress, f"{vault.url}/signer.pem", other=change)
    assert (answer.status, await ingress.count_deliveries()) == (401, 0)


@pytest.mark.parametrize(
    ("name", "signer"),
    [
        ("alone", SIGNER),  # its issuer is missing
        ("stranger", STRANGER),
        ("expired", EXPIRED),
        ("weak", WEAK),
        ("no-authority", NO_AUTHORITY),
        ("nothing", SIGNER),
        ("missing", SIGNER),
        ("large", SIGNER),
    ],
)
async def test_a_certificate_that_is_not_good_vouches_for_nothing(
    ingress: Ingress, vault: Vault, name: str, signer: Identity
) -> None:
    assert (await send_paypal(ingress, f"{vault.url}/{name}.pem", signer)).status == 401
    assert (await send_paypal(ingress, f"{vault.url}/{name}.pem", signer)).status == 401
    assert len(vault.asked) == 1, "a failure is remembered"
    assert await ingress.count_deliveries() == 0


async def test_a_host_that_is_not_trusted_is_not_asked(ingress: Ingress, vault: Vault) -> None:
    here = f"127.0.0.1:{vault.port}"
    for url in (
        f"http://{here}/signer.pem",
        f"https://user@{here}/signer.pem",
        f"https://localhost:{vault.port}/signer.pem",
        f"https://example.com@{here}/signer.pem",
        f"https://{here}.example.com/signer.pem",
        f"https://{here}\\@example.com/signer.pem",
        f"file:///{here}/signer.pem",
        "https://127.0.0.1:1/signer.pem",
        "",
        "x" * 3000,
    ):
        assert (await send_paypal(ingress, url)).status == 401, url
    assert vault.asked == []


async def test_while_a_certificate_cannot_be_fetched_senders_are_asked_to_come_again(
    ingress: Ingress, vault: Vault
) -> None:
    answer = await send_paypal(ingress, f"{vault.url}/broken.pem")
    assert (answer.status, "retry-after" in answer.headers) == (503, True)
    assert await ingress.count_deliveries() == 0


async def test_only_a_few_documents_are_fetched_at_once(ingress: Ingress, vault: Vault) -> None:
    vault.gate.clear()
    answers = await asyncio.gather(*(send_paypal(ingress, f"{vault.url}/{number}.pem") for number in range(30)))
    assert {answer.status for answer in answers} == {503}
    assert len(vault.asked) <= 8
    vault.gate.set()


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_notification_of_sns_is_stored(ingress: Ingress, vault: Vault, version: str) -> None:
    for fields in ({}, {"Subject": "hello", "MessageId": "m2"}):
        message = sns_message(vault, version, **fields)
        first, again = await send_sns(ingress, message), await send_sns(ingress, message)
        assert (first.status, first.json["duplicate"], again.json["duplicate"]) == (200, False, True)
    assert await ingress.fetchval("SELECT count(DISTINCT type) FROM penstock.deliveries") == 1


async def test_what_sns_has_not_signed_is_refused(ingress: Ingress, vault: Vault) -> None:
    message = sns_message(vault)
    old = sns_message(vault, Timestamp="2020-01-01T00:00:00.000Z")
    changed = [
        {**message, "Message": message["Message"] + " "},
        {**message, "Subject": "added"},
        {**message, "MessageId": "m3"},
        {**message, "Type": "SubscriptionConfirmation"},
        {**message, "SignatureVersion": "1"},
        {**message, "SignatureVersion": "3"},
        {**message, "SigningCertURL": f"{vault.url}/signer.txt"},
        {name: value for name, value in message.items() if name != "Signature"},
        sns_message(vault, TopicArn=TOPIC + "2"),
        old,
    ]
    for wrong in changed:
        assert (await send_sns(ingress, wrong)).status == 401, wrong
    raw = await ingress.send("POST", "/webhooks/sns", data=b'{"order": 1}')
    assert (raw.status, await ingress.count_deliveries()) == (401, 0)


async def test_a_subscription_of_sns_is_confirmed_at_a_trusted_host_only(ingress: Ingress, vault: Vault) -> None:
    kind = {"Type": "SubscriptionConfirmation", "Token": "t"}
    good = sns_message(vault, "2", **kind, SubscribeURL=f"{vault.url}/confirm?Token=t")
    assert (await send_sns(ingress, good)).json == {"status": "confirmed"}
    assert vault.asked == ["/signer.pem", "/confirm?Token=t"]
    elsewhere = sns_message(vault, "2", **kind, SubscribeURL="https://example.com/confirm")
    assert (await send_sns(ingress, elsewhere)).status == 401
    failing = sns_message(vault, "2", **kind, SubscribeURL=f"{vault.url}/broken.pem")
    assert (await send_sns(ingress, failing)).status == 503
    stranger = sns_message(vault, "2", **kind, SubscribeURL=f"{vault.url}/confirm", TopicArn=TOPIC + "2")
    assert (await send_sns(ingress, stranger)).status == 401
    assert len(vault.asked) == 3
    ended = sns_message(vault, Type="UnsubscribeConfirmation", Token="t", SubscribeURL=f"{vault.url}/confirm")
    assert (await send_sns(ingress, ended)).json == {"status": "unsubscribed"}
    assert await ingress.count_deliveries() == 0


async def test_a_token_of_the_issuer_for_us_lets_in(ingress: Ingress, vault: Vault) -> None:
    assert await send_token(ingress, make_token()) == 200
    assert await send_token(ingress, make_token({"aud": ["other", AUDIENCE]})) == 200
    google = {"iss": "https://accounts.google.com", "email": ACCOUNT, "email_verified": True}
    assert await send_token(ingress, make_token(google), "pubsub") == 200
    assert vault.asked == ["/jwks.json"]


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example.com"},
        {"iss": None},
        {"aud": "https://hooks.example.com/webhooks/jwu"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"nbf": 2**40},
        {"iat": 2**40},
    ],
    ids=str,
)
async def test_a_token_with_other_claims_does_not(ingress: Ingress, claims: dict[str, object]) -> None:
    assert (await send_token(ingress, make_token(claims)), await ingress.count_deliveries()) == (401, 0)


async def test_a_token_that_chooses_its_own_key_or_algorithm_does_not(ingress: Ingress, vault: Vault) -> None:
    head, claims, signature = make_token().split(".")
    public = json.loads(key_set("k1"))["keys"][0]["n"]
    given = jwt.decode(make_token(), options={"verify_signature": False})
    tokens = [
        f"{head}.{claims}.",
        f"{head}.{claims}.{signature[:-4]}AAAA",
        f"{head}.{claims}",
        "x.y.z",
        jwt.encode(given, "", "none", headers={"kid": "k1"}),
        jwt.encode(given, public, "HS256", headers={"kid": "k1"}),
        jwt.encode(given, STRANGER.key, "RS256", headers={"kid": "k1", "jku": f"{vault.url}/other.json"}),
        jwt.encode(given, STRANGER.key, "RS256", headers={"kid": "k2"}),
        jwt.encode(given, SIGNER.key, "RS256", headers={"kid": "k1", "crit": ["x"], "x": 1}),
    ]
    for token in tokens:
        assert await send_token(ingress, token) == 401, token
    assert set(vault.asked) == {"/jwks.json"}
    assert await ingress.count_deliveries() == 0


@pytest.mark.parametrize("change", [{"email": "x@example.com"}, {"email_verified": False}, {"email": None}], ids=str)
async def test_only_the_service_account_that_is_named_may_push(ingress: Ingress, change: dict[str, object]) -> None:
    google = {"iss": "https://accounts.google.com", "email": ACCOUNT, "email_verified": True}
    assert await send_token(ingress, make_token({**google, **change}), "pubsub") == 401


@asynccontextmanager
async def fetching() -> AsyncIterator[KeyFetcher]:
    async with fetching_keys(Outgoing([ip_network("127.0.0.1/32")])) as fetcher:
        yield fetcher


async def test_a_key_that_was_rotated_in_is_fetched_but_not_for_every_stranger(vault: Vault) -> None:
    wanted = Wanted("keys", f"{vault.url}/jwks.json", ROOT.pem.decode(), "k1")
    async with fetching() as fetcher:
        assert await fetcher.prepare(wanted, 0) is True
        vault.answers["/jwks.json"] = (200, key_set("k1", "k2"))
        for second in (1, 20, 40, 41, 80):
            await fetcher.prepare(wanted._replace(key_id="k2"), second)
            await fetcher.prepare(wanted._replace(key_id="stranger's"), second)
        keys = fetcher.store.find_key_set(wanted, 80)
        assert keys is not None
        assert keys.has("k2")
    assert len(vault.asked) == 3, "at 0, 40 and 80 seconds"


async def test_a_set_that_cannot_be_fetched_again_is_used_for_another_day(vault: Vault) -> None:
    wanted = Wanted("keys", f"{vault.url}/jwks.json", ROOT.pem.decode(), "k1")
    async with fetching() as fetcher:
        assert await fetcher.prepare(wanted, 0) is True
        vault.answers["/jwks.json"] = (503, b"")
        for hours, is_usable in ((2, True), (23, True), (25, False)):
            assert await fetcher.prepare(wanted, hours * 3600) is is_usable, hours
        assert fetcher.store.find_key_set(wanted, 25 * 3600) is None
        vault.answers["/jwks.json"] = (200, key_set("k1"))
        assert await fetcher.prepare(wanted, 25 * 3600 + 40) is True


def test_a_store_keeps_a_bounded_number_of_documents() -> None:
    store = KeyStore()
    for number in range(MAX_DOCUMENTS + 50):
        store.keep(Wanted("keys", f"https://example.com/{number}"), key_set("k1"), 0)
    kept = [store.has(Wanted("keys", f"https://example.com/{number}"), 0) for number in range(MAX_DOCUMENTS + 50)]
    assert kept == [False] * 50 + [True] * MAX_DOCUMENTS


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'{"keys": []}',
        b'{"keys": [1, {}, {"kty": "oct", "k": "AAAA"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}',
        b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": ["RSA"]}, {"kty": "OKP", "crv": 1}]}',
        b'{"keys": [' + b",".join([b"{}"] * 1000) + b"]}",
    ],
    ids=len,
)
def test_a_set_without_a_key_that_can_be_used_is_none(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"^"):
        KeyStore().keep(Wanted("keys", "https://example.com"), document, 0)

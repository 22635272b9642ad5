"""What is sealed for a run: opened for that run alone, and of no use to anybody who reads it."""

from uuid import uuid4

import pytest

from penstock.definitions.models import FieldType, Parameter, Workflow
from penstock.encryption import is_sealed, make_key, parse_keyring
from penstock.runs.idempotency import IdempotencyKey, protect_key
from penstock.runs.sealing import UnsealedPassword, seal_passwords, seal_token, unseal_password, unseal_tokens

KEYRING = parse_keyring(make_key())
RUN, OTHER = uuid4(), uuid4()
WORKFLOW = Workflow(
    name="w",
    parameters=(
        Parameter(name="email", type=FieldType("text")),
        Parameter(name="password", type=FieldType("password")),
    ),
)
GIVEN = {"email": "a@example.com", "password": "correct horse ☃"}


def seal(password: str) -> str:
    """A password as the run has it."""
    sealed = seal_passwords(WORKFLOW, {**GIVEN, "password": password}, "live", RUN, KEYRING)
    assert sealed["email"] == "a@example.com"
    return str(sealed["password"])


def test_a_password_is_opened_for_its_run_alone() -> None:
    sealed = seal("correct horse ☃")
    assert is_sealed(sealed)
    assert unseal_password(sealed, "live", RUN, KEYRING) == "correct horse ☃"
    assert unseal_password(sealed, "live", OTHER, KEYRING) is None
    assert unseal_password(sealed, "development", RUN, KEYRING) is None
    assert unseal_password(sealed, "live", RUN, parse_keyring(make_key())) is None
    assert unseal_password("correct horse ☃", "live", RUN, KEYRING) is None


def test_a_sealed_text_that_is_sent_as_a_password_is_sealed_again() -> None:
    sealed = seal("correct horse")
    assert unseal_password(seal(sealed), "live", RUN, KEYRING) == sealed


def test_nothing_takes_a_password_without_a_key() -> None:
    with pytest.raises(UnsealedPassword, match="where PENSTOCK_SECRET_KEY is set"):
        seal_passwords(WORKFLOW, GIVEN, "live", RUN, None)
    assert seal_passwords(WORKFLOW, {**GIVEN, "password": None}, "live", RUN, None)["password"] is None


def test_tokens_are_opened_wherever_they_stand_in_an_answer_and_passwords_are_not() -> None:
    token, password = seal_token("pst_a", "live", RUN, KEYRING), seal("correct horse")
    other = seal_token("pst_b", "live", OTHER, KEYRING)
    forged = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    text = f'{{"a":"token={token}","b":"{password}","c":"{other}","d":"{forged}","e":"sealed.00000000.x"}}'
    opened = f'{{"a":"token=pst_a","b":"{password}","c":"{other}","d":"{forged}","e":"sealed.00000000.x"}}'
    assert unseal_tokens(text, "live", RUN, KEYRING) == opened
    assert unseal_tokens(text, "live", RUN, None) == text


def test_the_hash_of_a_request_with_a_password_needs_the_key_and_outlasts_a_new_one() -> None:
    plain = IdempotencyKey("scope", "key", b"hash")
    old, new = make_key(), make_key()
    protected = protect_key(plain, parse_keyring(old))
    assert protected is not None
    assert protected.fingerprint != plain.fingerprint
    assert protected == protect_key(plain, parse_keyring(f"{new},{old}"))
    assert protected != protect_key(plain, parse_keyring(new))

"""Keys and what they encrypt: only for the place it was encrypted for, and only with a key that is there."""

import base64

import pytest

from penstock.encryption import Sealed, Undecryptable, make_key, parse_keyring

OLD, NEW = make_key(), make_key()


def test_what_was_encrypted_decrypts_for_its_place_alone() -> None:
    keyring = parse_keyring(NEW)
    sealed = keyring.encrypt("geheim ☃", "live/KEY")
    assert keyring.decrypt(sealed, "live/KEY") == "geheim ☃"
    assert b"geheim" not in sealed.content
    for place in ("development/KEY", "live/OTHER"):
        with pytest.raises(Undecryptable):
            keyring.decrypt(sealed, place)


def test_the_same_text_is_never_encrypted_the_same_way() -> None:
    keyring = parse_keyring(NEW)
    assert keyring.encrypt("a", "p").content != keyring.encrypt("a", "p").content


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    before = parse_keyring(OLD).encrypt("kept", "p")
    both = parse_keyring(f"{NEW}, {OLD}")
    assert both.decrypt(before, "p") == "kept"
    assert both.encrypt("new", "p").key_id == parse_keyring(NEW).first_id
    with pytest.raises(Undecryptable):
        parse_keyring(NEW).decrypt(before, "p")


def test_what_was_changed_does_not_decrypt() -> None:
    keyring = parse_keyring(NEW)
    sealed = keyring.encrypt("text", "p")
    for content in (sealed.content[:-1] + bytes([sealed.content[-1] ^ 1]), b"", sealed.content[:12]):
        with pytest.raises(Undecryptable):
            keyring.decrypt(Sealed(sealed.key_id, content), "p")


def test_a_key_may_be_written_in_any_base64() -> None:
    raw = bytes(range(220, 252))
    forms = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    assert len(forms) == 2
    assert len({parse_keyring(form).first_id for form in forms}) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        (" , ", "it is empty"),
        ("hunter2!", "key 1 of 1 is not base64"),
        (f"{NEW},c2hvcnQ=", "key 2 of 2 has 5 bytes and needs 32"),
    ],
    ids=[
        "empty",
        "blank",
        "no base64",
        "short",
    ],  # a random key in a test's name would give each worker tests of its own
)
def test_a_key_that_is_none_says_how_to_make_one_without_showing_it(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        parse_keyring(text)
    assert "openssl rand -base64 32" in str(error.value)
    assert NEW not in str(error.value)

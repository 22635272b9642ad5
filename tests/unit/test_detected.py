"""What a sample suggests: passwords are known by their names."""

import pytest
from pydantic import JsonValue

from penstock.definitions.detected import detect_parameters, write_parameters
from penstock.definitions.values import ValueSource


@pytest.mark.parametrize(
    "name",
    [
        "password", "Password", "new_password", "newPassword", "user-password", "passwd", "pwd", "passphrase",
        "password_confirmation", "password2", "PASSWORD REPEAT",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", ["secret", "123456", "2026-01-01", "true", None])
def test_a_password_is_proposed_as_one_whatever_it_looks_like(name: str, value: JsonValue) -> None:
    (found,) = detect_parameters({name: value}, ValueSource.TEXT)
    assert (found.type, found.is_optional) == ("password", value is None)
    assert "password" in write_parameters([found])


@pytest.mark.parametrize(
    ("name", "value", "proposed"),
    [
        ("password", True, "boolean"),
        ("password", ["a"], "list of text"),
        ("password_reset_url", "a", "text"),
        ("has_password_since", "2026-01-01", "date"),
        ("pwdx", "a", "text"),
        ("email", "ada@example.com", "text"),
    ],
)
def test_what_is_not_a_password_is_proposed_as_what_it_looks_like(name: str, value: JsonValue, proposed: str) -> None:
    (found,) = detect_parameters({name: value}, ValueSource.JSON)
    assert found.type == proposed

"""Settings that are URLs: what cannot be one is refused at the start, under its name and without its password."""

import pytest

from penstock.embedded.settings import ServerSettings
from penstock.errors import ConfigurationError
from penstock.mail.settings import MailSettings
from penstock.settings import CommonSettings, read_settings

GOOD = {
    "database_url": "postgresql://u:p@db:5432/penstock",
    "amqp_url": "amqp://u:p@mq:5672/",
    "smtp_url": "smtp://mail",
}
SCHEMES = {"database_url": "postgresql", "amqp_url": "amqp", "smtp_url": "smtp"}
SERVERS = [
    "user:secret-word@my host/x", " user:secret-word@host", "user:secret-word@host ", "user:secret-word@host\n",
    "user:secret-word@ho\tst", "user:secret-word@host\x00", "user:secret-word@host\u2028",
    "user:secret-word@host:port", "user:secret-word@host:0", "user:secret-word@host:65536", "user:secret-word@host:-1",
    "user:secret-word@host:٣", "user:secret-word@[::1", "user:secret-word@[nowhere]", "user:secret-word@ho<st",
    "user:secret-word#1@host:25", "user:secret/word@host:25", "user:secret-word@host:25:26",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("server", SERVERS, ids=ascii)
def test_a_malformed_url_is_refused_under_the_name_of_its_setting(name: str, server: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(MailSettings, {**GOOD, name: f"{SCHEMES[name]}://{server}"})
    assert f"PENSTOCK_{name.upper()}: " in str(caught.value)
    assert str(caught.value).count("PENSTOCK_") == 1
    assert "secret" not in str(caught.value).replace("secrets", "")


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("url", ["", "host:25", "http://host", "//host", "mail", "file:///x"])
def test_a_url_of_something_else_is_refused(name: str, url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"PENSTOCK_{name.upper()}"):
        read_settings(MailSettings, {**GOOD, name: url})


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("database_url", "postgresql:///penstock?host=/var/run/postgresql"),
        (
            "database_url",
            "postgres://u:p%40%2F%3A@a:5432,b:5433/penstock?sslmode=require&target_session_attrs=read-write",
        ),
        ("database_url", "postgresql://u@[::1]:5432/x"),
        ("database_url", "postgresql://u@%2Fvar%2Frun/x"),
        ("amqp_url", "amqps://u:p@mq_1.internal:5671/v%2Fhost?heartbeat=5"),
        ("amqp_url", "amqp://mq"),
        ("smtp_url", "smtps://u%40x:p@mail.example.com:465"),
        ("smtp_url", "smtp://bücher.example/?starttls=0"),
        ("smtp_url", "smtp://[2001:db8::1]:25"),
    ],
)
def test_urls_of_servers_are_taken(name: str, url: str) -> None:
    assert read_settings(MailSettings, {**GOOD, name: url}).mail_server is not None


@pytest.mark.parametrize(
    "url",
    [
        "smtp://mail?startls=1", "smtp://mail?starttls=perhaps", "smtp://mail?starttls", "smtp://mail/?x=1",
        "smtps://mail?starttls=1", "smtp://mail/box", "smtp://mail#1", "smtp://a,b",
    ],
)  # fmt: skip
def test_what_might_send_a_password_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="PENSTOCK_SMTP_URL"):
        read_settings(MailSettings, {**GOOD, "smtp_url": url})


def test_up_and_the_commands_refuse_the_same() -> None:
    for name in ("database_url", "amqp_url"):
        with pytest.raises(ConfigurationError, match=f"PENSTOCK_{name.upper()}"):
            read_settings(ServerSettings, {name: GOOD[name].replace("@", "@my "), "host": "127.0.0.1"})
    servers = {field for field in (*CommonSettings.model_fields, *MailSettings.model_fields) if "url" in field}
    # Files may lie in a directory, which is checked where they are; the public URL is one of ours, not of a server.
    assert set(GOOD) == servers - {"files_url", "public_url"}

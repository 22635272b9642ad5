"""Mails with attachments."""

from collections.abc import AsyncIterator
from uuid import uuid4

from pydantic import JsonValue

from penstock.db import Record
from penstock.domain.files import NewFile
from penstock.things.files import Files, insert_arrived, store_file
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.mailing.writing import SENDER
from tests.mail_server import MailServer, serve_mail

ATTACHED = """
workflow: attach
parameters: {files: any}
steps:
  - email: a@b.c
    subject: s
    text: t
    html: <p>t</p>
    headers: {List-Unsubscribe: "<https://example.com/u>", X-N: "${1 + 1}"}
    attachments: "${params.files}"
"""


async def attach(house: House, mind: MailServer, files: JsonValue) -> Record:
    """Perform the workflow that attaches files."""
    await house.deploy(ATTACHED, head=SENDER)
    async with serve_mail(mind) as url, house.executor(smtp_url=url):
        return await house.perform("attach", {"files": files})


async def test_files_are_attached(house: House) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield "número,".encode()
        yield b"1\n"

    file = await store_file(
        Files(house.database),
        environment=ENVIRONMENT,
        name="órdenes.csv",
        content_type="text/csv",
        run_id=None,
        content=content(),
    )
    files: list[JsonValue] = [
        file.to_json(), None, {"name": "note.txt", "text": "é"}, {"name": "x.bin", "content_type": "image/png",
        "base64": "AAH/ "},
    ]  # fmt: skip
    mind = MailServer()
    assert (await attach(house, mind, files))["error"] is None
    mail = mind.mails[0][1]
    assert [
        (one.get_filename(), one.get_content_type(), one.get_payload(decode=True)) for one in mail.iter_attachments()
    ] == [
        ("órdenes.csv", "text/csv", "número,1\n".encode()),
        ("note.txt", "text/plain", "é".encode()),
        ("x.bin", "image/png", b"\x00\x01\xff"),
    ]
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert (plain.get_content(), html.get_content()) == ("t\r\n", "<p>t</p>\r\n")
    assert (mail["List-Unsubscribe"], mail["X-N"]) == ("<https://example.com/u>", "2")


async def test_what_cannot_be_attached_is_told(house: House) -> None:
    wrong: list[tuple[JsonValue, str]] = [
        ("a.csv", "an attachment has to be a file, and this is text"),
        (
            [{"file": "8d2b2cf4-3f0a-4a4e-8d2c-000000000000", "name": "o.csv"}],
            "there is no file 'o.csv': files are kept for seven days",
        ),
        ([{"file": "x", "name": "o.csv"}], "the attachment 'o.csv' is not a file of this app"),
        ([{"text": "x"}], "an attachment needs a `name`, such as orders.csv"),
        ([{"name": "a"}], "the attachment 'a' needs either `text` or `base64`"),
        ([{"name": "a", "text": 5}], "the content of the attachment 'a' has to be text, and it is number"),
        ([{"name": "a", "base64": "x!"}], "`base64` of the attachment 'a' is not base64"),
    ]
    await house.deploy(ATTACHED, head=SENDER)
    async with house.executor(smtp_url="smtp://127.0.0.1:1"):
        for files, message in wrong:
            run = await house.perform("attach", {"files": files})
            assert run["error"]["message"] == f"email at workflows/all.yaml:5: {message}"


async def test_attachments_that_are_too_large_are_told(house: House) -> None:
    async def content() -> AsyncIterator[bytes]:
        for _ in range(19):
            yield bytes(2**20)

    file = await store_file(
        Files(house.database), environment=ENVIRONMENT, name="big", content_type="a/b", run_id=None, content=content()
    )
    run = await attach(house, MailServer(), file.to_json())
    assert "with 'big' the attachments have more than 18 MiB" in run["error"]["message"]


async def test_a_file_that_came_with_a_call_is_attached_by_its_url(house: House) -> None:
    file = NewFile(uuid4(), "receipt.txt", "text/plain", b"paid")
    async with house.database.connection() as conn, conn.transaction():
        await insert_arrived(conn, environment=ENVIRONMENT, run_id=uuid4(), files=[file])
    mind = MailServer()
    url = f"//example.com/version-test/fileupload/{file.id}/receipt.txt"
    assert (await attach(house, mind, url))["error"] is None
    mail = mind.mails[0][1]
    assert [(one.get_filename(), one.get_payload(decode=True)) for one in mail.iter_attachments()] == [
        ("receipt.txt", b"paid")
    ]

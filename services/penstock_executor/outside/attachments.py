"""What goes with an `email` step's mail: files as other steps give them, or content that stands in the step itself."""

import base64
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.expressions.language import describe_type
from penstock.mail.message import Attachment
from penstock.storable import storable_text
from penstock.things.files import file_id, open_file
from penstock_executor.runs import Values
from penstock_executor.steps.arguments import wrong
from penstock_executor.steps.specs import Call

MAX_BYTES: Final = 18 * 1024 * 1024
"""Limit for all attachments of a mail before encoding: 25 MiB on the wire, about what mailboxes accept."""


async def read_attachments(call: Call) -> tuple[Attachment, ...]:
    """The attachments of a step. Raises Permanent when one is missing or all are too large; DatabaseUnavailable."""
    given = call.arguments.get("attachments")
    items = given if isinstance(given, list) else [] if given is None else [given]
    read: list[Attachment] = []
    for item in items:
        if item is None:  # of a step that was skipped
            continue
        if isinstance(item, str) and (id := file_id(item)) is not None:
            item = {"file": str(id)}
        if not isinstance(item, dict):
            raise wrong(call, f"an attachment has to be a file, and this is {describe_type(item)}")
        attachment = await _read_file(call, item) if "file" in item else _read_content(call, item)
        read.append(attachment)
        _check_size(call, sum(len(one.content) for one in read), attachment.name)
    return tuple(read)


async def _read_file(call: Call, item: Values) -> Attachment:
    name = storable_text(str(item.get("name") or item["file"]))
    try:
        id = UUID(str(item["file"]))
    except ValueError:
        raise wrong(call, f"the attachment {name!r} is not a file of this app") from None
    file = await open_file(call.tools.files, environment=call.run.environment, id=id)
    if file is None:
        raise wrong(call, f"there is no file {name!r}: files are kept for seven days")
    _check_size(call, file.size, name)
    name = name if "name" in item else file.name
    return Attachment(name, file.content_type, b"".join([chunk async for chunk in file]))


def _read_content(call: Call, item: Values) -> Attachment:
    name, content_type = item.get("name"), item.get("content_type")
    if not isinstance(name, str) or not name:
        raise wrong(call, "an attachment needs a `name`, such as orders.csv")
    if ("text" in item) == ("base64" in item):
        raise wrong(call, f"the attachment {name!r} needs either `text` or `base64`")
    content = item["text"] if "text" in item else item["base64"]
    if not isinstance(content, str):
        raise wrong(call, f"the content of the attachment {name!r} has to be text, and it is {describe_type(content)}")
    if "text" in item:
        written = storable_text(content).encode()
        return Attachment(storable_text(name), _kind(content_type, "text/plain; charset=utf-8"), written)
    try:
        return Attachment(
            storable_text(name),
            _kind(content_type, "application/octet-stream"),
            base64.b64decode("".join(content.split()), validate=True),
        )
    except ValueError:  # binascii.Error, or a character that is not ASCII
        raise wrong(call, f"`base64` of the attachment {name!r} is not base64") from None


def _kind(given: JsonValue, default: str) -> str:
    """The content type; content that is given as text is UTF-8."""
    if not isinstance(given, str):
        return default
    return (
        f"{given}; charset=utf-8"
        if given.startswith("text/") and default.startswith("text/") and ";" not in given
        else given
    )


def _check_size(call: Call, size: int, name: str) -> None:
    if size > MAX_BYTES:
        limit = MAX_BYTES // 1024 // 1024
        raise wrong(
            call,
            f"with {name!r} the attachments have more than {limit} MiB; put the file where a link in the mail leads to",
        )

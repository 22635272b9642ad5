"""Mail services with an HTTP API: SendGrid (https://www.twilio.com/docs/sendgrid/api-reference/mail-send) and Postmark
(https://postmarkapp.com/developer/api/email-api).

Neither promises to recognise a repeated request; both are given the step's idempotency key and a Message-ID that stays
the same.
"""

import base64
from typing import Final

from multidict import CIMultiDict
from pydantic import JsonValue
from yarl import URL

from penstock import exact_json
from penstock.definitions.email import EmailSettings
from penstock.domain.mail_addresses import Address
from penstock.errors import Permanent, Transient
from penstock.expressions import compile_template
from penstock.mail.message import Mail
from penstock.outgoing.exchange import Request, Response
from penstock.store.logs import LogEvent
from penstock_executor.outside.requests import call_out, idempotency_key
from penstock_executor.outside.responses import retry_after
from penstock_executor.runs import Values
from penstock_executor.steps.specs import Call

SENDGRID_URL: Final = "https://api.sendgrid.com"
POSTMARK_URL: Final = "https://api.postmarkapp.com"
_MAX_EXCERPT: Final = 300


async def send_by_sendgrid(call: Call, settings: EmailSettings, mail: Mail, seconds: float) -> str:
    """SendGrid's id of the message."""
    headers = {"Authorization": f"Bearer {_read_api_key(call, settings)}"}
    response = await _post(
        call, f"{settings.base_url or SENDGRID_URL}/v3/mail/send", headers, _to_sendgrid(call, mail), seconds
    )
    if response.status >= 300:
        said = _read(response).get("errors")
        messages = (
            [str(error.get("message")) for error in said if isinstance(error, dict)] if isinstance(said, list) else []
        )
        raise _refusal("SendGrid", response, "; ".join(messages))
    return response.headers.get("x-message-id") or mail.message_id


async def send_by_postmark(call: Call, settings: EmailSettings, mail: Mail, seconds: float) -> str:
    """Postmark's id of the message."""
    headers = {"X-Postmark-Server-Token": _read_api_key(call, settings)}
    response = await _post(
        call, f"{settings.base_url or POSTMARK_URL}/email", headers, _to_postmark(call, mail), seconds
    )
    answer = _read(response)
    said = str(answer.get("Message") or "")
    if response.status >= 300 or answer.get("ErrorCode", 0) != 0:
        raise _refusal("Postmark", response, f"{said} (error {answer.get('ErrorCode')})" if said else "")
    if "will not deliver" in said:  # some recipients are inactive; the others get it
        line = call.run.line(
            "warning", LogEvent.MAIL_FAILED, f"the mail was sent, but Postmark says: {said}", call.now, step=call.path
        )
        call.tools.write_log(line)
    id = answer.get("MessageID")
    return id if isinstance(id, str) and id else mail.message_id


def _to_sendgrid(call: Call, mail: Mail) -> Values:
    seen: set[str] = set()  # SendGrid refuses an address that occurs twice
    recipients = {
        field: _people(addresses, seen) for field, addresses in (("to", mail.to), ("cc", mail.cc), ("bcc", mail.bcc))
    }
    contents = [("text/plain", mail.text), ("text/html", mail.html)]
    attachments: list[JsonValue] = [
        {"content": _encode(one.content), "type": one.content_type, "filename": one.name, "disposition": "attachment"}
        for one in mail.attachments
    ]
    body: Values = {
        "personalizations": [{field: people for field, people in recipients.items() if people}],
        "from": _person(mail.sender),
        "subject": mail.subject,
        "content": [{"type": kind, "value": content} for kind, content in contents if content],
        "headers": {"Message-ID": mail.message_id, **dict(mail.headers)},
        "custom_args": {"idempotency_key": idempotency_key(call)},
    }
    if mail.reply_to:
        body["reply_to_list"] = _people(mail.reply_to, set())
    if attachments:
        body["attachments"] = attachments
    return body


def _people(addresses: tuple[Address, ...], seen: set[str]) -> list[JsonValue]:
    people: list[JsonValue] = []
    for address in addresses:
        if address.email.lower() not in seen:
            seen.add(address.email.lower())
            people.append(_person(address))
    return people


def _person(address: Address) -> JsonValue:
    return {"email": address.email, "name": address.name} if address.name else {"email": address.email}


def _to_postmark(call: Call, mail: Mail) -> Values:
    # Postmark replaces the Message-ID unless it is asked to keep it.
    headers = (("Message-ID", mail.message_id), ("X-PM-KeepID", "true"), *mail.headers)
    fields: Values = {
        "From": str(mail.sender),
        "To": _join(mail.to),
        "Cc": _join(mail.cc),
        "Bcc": _join(mail.bcc),
        "ReplyTo": _join(mail.reply_to),
        "Subject": mail.subject,
        "TextBody": mail.text,
        "HtmlBody": mail.html,
        "Headers": [{"Name": name, "Value": value} for name, value in headers],
        "Metadata": {"run": str(call.run.id), "step": call.path[-80:]},
        "Attachments": [
            {"Name": one.name, "Content": _encode(one.content),
            "ContentType": one.content_type} for one in mail.attachments
        ],
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value}


def _join(addresses: tuple[Address, ...]) -> str:
    return ", ".join(str(address) for address in addresses)


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _read_api_key(call: Call, settings: EmailSettings) -> str:
    template, environment = compile_template(settings.api_key or "", "app.yaml"), call.run.environment
    call.tools.secrets.require(environment, template.secrets)
    key = template.evaluate({"secrets": call.tools.secrets.values(environment)})
    return key.strip() if isinstance(key, str) else ""


async def _post(call: Call, url: str, headers: dict[str, str], body: Values, seconds: float) -> Response:
    described = CIMultiDict({"Content-Type": "application/json", "Accept": "application/json", **headers})
    return await call_out(call, Request("POST", URL(url), described, exact_json.dumps(body)), seconds)


def _read(response: Response) -> Values:
    try:
        answer: JsonValue = exact_json.loads(response.body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _refusal(service: str, response: Response, said: str) -> Permanent | Transient:
    words = said or response.body[:_MAX_EXCERPT].decode(errors="replace")
    message = f"{service} answered with status {response.status}: {words}"
    if response.status in {408, 429} or response.status >= 500:
        return Transient(message, kind="email", retry_after_seconds=retry_after(response), status=response.status)
    return Permanent(message, kind="email")

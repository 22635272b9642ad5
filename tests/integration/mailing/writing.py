"""What tests of mail steps share."""

from pydantic import JsonValue

from penstock.db import Record
from tests.integration.executing import House
from tests.mail_server import MailServer, serve_mail

SENDER = 'email: {from: "Shöp <shop@example.com>"}'
MAIL = """
workflow: mail
parameters: {to: {type: any, optional: true}, cc: {type: any, optional: true}, subject: {type: any, optional: true}}
timeout: 30s
steps:
  - id: mail
    email: "${params.to}"
    cc: "${params.cc}"
    subject: "${params.subject}"
    text: Hello you
    timeout: 2s
  - return: {id: "${steps.mail}"}
"""


async def send(house: House, mind: MailServer, to: JsonValue, **given: JsonValue) -> Record:
    """Perform the workflow with a mail server of that mind."""
    async with serve_mail(mind) as url, house.executor(smtp_url=url):
        return await house.perform("mail", {"to": to, "subject": "Hello", **given})

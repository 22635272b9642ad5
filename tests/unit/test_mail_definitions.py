"""What an app may say about mail, and the message to the author of one that cannot work."""

import pytest

from penstock.definitions.email import EmailSettings, EmailTransport
from penstock.definitions.models import StepAction
from penstock.reading.loader import load_files

WORKFLOW = """workflow: w
parameters: {{n: text, owner: user}}
steps:
  - {step}
"""


def problems(*, app: str = "", step: str = "log: x") -> list[str]:
    """What is wrong, without the name of the file."""
    files = {"app.yaml": f"app: a\n{app}".encode(), "workflows/w.yaml": WORKFLOW.format(step=step).encode()}
    return [str(problem).partition(".yaml:")[2] for problem in load_files(files).problems]


def test_an_app_names_its_sender_and_its_service() -> None:
    files = {
        "app.yaml": b"""app: a
email:
  from: "Shop <shop@example.com>"
  transport: sendgrid
  api_key: "${secrets.SENDGRID_KEY}"
  base_url: https://api.eu.sendgrid.com/
"""
    }
    app = load_files(files).app
    assert app is not None
    assert app.email == EmailSettings(
        sender="Shop <shop@example.com>",
        transport=EmailTransport.SENDGRID,
        api_key="${secrets.SENDGRID_KEY}",
        base_url="https://api.eu.sendgrid.com",
    )


@pytest.mark.parametrize(
    ("app", "problem"),
    [
        ("email: {from: shop}", "2: 'from': 'shop' is not a mail address, such as ada@example.com"),
        ("email: {from: 'a@b.c, d@e.f'}", "2: 'from': expected one mail address, got 2"),
        ("email: {transport: smpt}", "2: unknown transport 'smpt'; did you mean 'smtp'?"),
        (
            "email: {api_key: '${secrets.A}'}",
            "2: 'api_key' is for the transports sendgrid and postmark; the mail server is PENSTOCK",
        ),
        (
            "email: {base_url: 'https://x.y'}",
            "2: 'base_url' is for the transports sendgrid and postmark; the mail server is PENSTOCK",
        ),
        (
            "email: {transport: postmark, api_key: '${secrets.A}'}",
            "2: 'email' needs 'from'; such as from: \"Shop <shop@example.com>\"",
        ),
        (
            "email: {transport: postmark, from: a@b.c}",
            "2: 'email' needs 'api_key'; such as api_key: \"${secrets.POSTMARK_KEY}\"",
        ),
        (
            "email: {transport: postmark, from: a@b.c, api_key: x}",
            '2: the file contains a secret; write api_key: "${secrets.POSTMARK_',
        ),
        (
            "email: {transport: postmark, from: a@b.c, api_key: '${params.a}'}",
            "2:55: `params.a`: unknown name 'params'",
        ),
        (
            "email: {transport: postmark, from: a@b.c, api_key: '${secrets.A}', base_url: api.x}",
            "2: 'base_url': expected a URL such as https://api.eu.sendgrid.com, got 'api.x'",
        ),
        ("email: {form: a@b.c}", "2: unknown key 'form'; did you mean 'from'?"),
    ],
)
def test_problems_of_the_settings(app: str, problem: str) -> None:
    assert problems(app=app)[0].startswith(problem)


@pytest.mark.parametrize(
    "step",
    [
        "{email: 'a@b.c, Ada <d@e.f>', subject: s, text: t}",
        (
            "{email: ['${user}', '${params.owner}', a@b.c], cc: '${params.n}', bcc: [x@y.z], reply_to: x@y.z, subject: "
            "s, "
            "html: h}"
        ),
        (
            "{email: {name: 'A, B', email: '${params.n}'}, subject: '${params.n}', text: t, html: h, headers: "
            "{List-Unsubscribe: '<x>'}}"
        ),
        "{email: a@b.c, subject: s, text: t, attachments: '${params.n}'}",
        (
            "{email: a@b.c, subject: s, text: t, attachments: ['${params.n}', {name: a.txt, text: x}, {name: a.bin, "
            "base64: eA==}]}"
        ),
        "{id: mail, email: a@b.c, subject: s, text: t, timeout: 10s, retry: {attempts: 3}, on_error: continue}",
    ],
)
def test_steps_that_write_mail(step: str) -> None:
    assert problems(step=step) == []


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("{email: }", "4: 'email' needs a recipient; such as \"${params.email}\""),
        ("{email: '', subject: s, text: t}", "4: 'email': nobody is named"),
        ("{email: ada, subject: s, text: t}", "4: 'email': 'ada' is not a mail address, such as ada@example.com"),
        ("{email: a@b.c, cc: [bob], subject: s, text: t}", "4: 'cc': 'bob' is not a mail address"),
        (
            "{email: a@b.c, bcc: {name: B}, subject: s, text: t}",
            "4: an address in 'bcc' needs 'email'; such as {name: Ada,",
        ),
        ("{email: {email: bob}, subject: s, text: t}", "4: 'email': 'bob' is not a mail address"),
        ("{email: {mail: a@b.c}, subject: s, text: t}", "4: an address in 'email' needs 'email'"),
        ("{email: 5, subject: s, text: t}", "4: 'email': expected a mail address, got a number"),
        ("{email: '${parms.n}', subject: s, text: t}", "4:16: `parms.n`: unknown name 'parms'; did you mean 'params'?"),
        ("{email: a@b.c, text: t}", "4: 'email' needs subject"),
        ("{email: a@b.c, subject: s}", "4: 'email' needs text or html"),
        ("{email: a@b.c, subjct: s, text: t}", "4: 'email' needs subject"),
        (
            "{email: a@b.c, subject: s, text: t, headers: {Subject: x}}",
            "4: the header Subject is set by other keys of the step",
        ),
        (
            "{email: a@b.c, subject: s, text: t, headers: {'X: y': x}}",
            "4: 'X: y' is not the name of a header; such as List-Unsubscribe",
        ),
        (
            "{email: a@b.c, subject: s, text: t, attachments: a.csv}",
            "4: 'attachments': expected a file, got text; such as \"${steps.",
        ),
        (
            "{email: a@b.c, subject: s, text: t, attachments: [{text: x}]}",
            "4: an attachment needs 'name'; such as name: orders.csv",
        ),
        (
            "{email: a@b.c, subject: s, text: t, attachments: [{name: a}]}",
            "4: an attachment needs either text or base64; such as",
        ),
        (
            "{email: a@b.c, subject: s, text: t, attachments: [{name: a, text: b, mime: c}]}",
            "4: unknown key 'mime'; known are",
        ),
    ],
)
def test_problems_of_steps(step: str, problem: str) -> None:
    assert any(line.startswith(problem) for line in problems(step=step)), problems(step=step)


def test_the_step_is_kept_as_written() -> None:
    step = "{email: '${params.owner}', subject: hello, text: t}"
    app = load_files({"app.yaml": b"app: a", "workflows/w.yaml": WORKFLOW.format(step=step).encode()}).app
    assert app is not None
    (read,) = app.workflows["w"].steps
    assert (read.action, read.target, read.arguments) == (
        StepAction.EMAIL,
        "${params.owner}",
        {"subject": "hello", "text": "t"},
    )

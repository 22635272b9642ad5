"""An app whose users sign up, log in and log out, as the tests of accounts use it."""

from pathlib import Path

from penstock.testing import AppUnderTest
from penstock.testing.replies import Reply

PASSWORD = "correct horse battery"
OTHER = "a wrong password here"
TYPES = """
type: user
fields: {name: text, joined: date}
"""
WORKFLOWS = """
workflow: sign_up
parameters: {email: text, password: password, name: {type: text, optional: true}}
on: {api: {method: POST, auth: public}}
steps:
  - sign_up: "${params.email}"
    password: "${params.password}"
    set: {name: "${params.name}"}
---
workflow: log_in
parameters: {email: text, password: password}
on: {api: {method: POST, auth: public}}
steps:
  - id: session
    log_in: "${params.email}"
    password: "${params.password}"
  - return: {token: "${steps.session.token}", text_of_it: "token=${steps.session.token}"}
---
workflow: log_in_get
parameters: {email: text, password: password}
on: {api: {method: GET, auth: public}}
steps:
  - log_in: "${params.email}"
    password: "${params.password}"
  - state: {seen: "${request}"}
---
workflow: log_in_inside
parameters: {email: text, password: password}
on: {api: {method: POST, auth: public}}
steps:
  - trigger: log_in
    id: inner
    with: {email: "${params.email}", password: "${params.password}"}
  - return:
    redirect: "https://shop.example.com/in?token=${steps.inner.token}"
---
workflow: long_session
parameters: {email: text, password: password, expires: text}
on: {api: {method: POST, auth: public}}
steps:
  - log_in: "${params.email}"
    password: "${params.password}"
    expires: "${params.expires}"
---
workflow: log_out
parameters: {}
on: {api: {method: POST, auth: user}}
steps: [{id: ended, log_out: this}, {return: {ended: "${steps.ended}"}}]
---
workflow: log_out_others
on: {api: {method: POST, auth: user}}
steps: [{id: ended, log_out: others}, {return: {ended: "${steps.ended}"}}]
---
workflow: log_out_all
on: {api: {method: POST, auth: user}}
steps: [{id: ended, log_out: all}, {return: {ended: "${steps.ended}"}}]
---
workflow: who
on: {api: {method: POST, auth: user}}
steps: [{return: {id: "${user._id}", name: "${user.name}", email: "${user.email}"}}]
---
workflow: forgot
parameters: {email: text}
on: {api: {method: POST, auth: public}}
steps:
  - schedule: mail_reset
    with: {email: "${params.email}"}
---
workflow: mail_reset
parameters: {email: text}
steps:
  - send_password_reset: "${params.email}"
    link: "https://shop.example.com/reset?token={token}&lang=en"
    html: "<a href='{link}'>reset</a>"
---
workflow: join
parameters: {email: text}
steps:
  - send_password_reset: "${params.email}"
    link: "https://shop.example.com/join?token={token}"
    invite: true
    subject: Welcome
    text: "Hello! {link}"
---
workflow: reset
parameters: {token: password, password: password, name: {type: text, optional: true}}
on: {api: {method: POST, auth: public}}
steps:
  - id: person
    reset_password: "${params.token}"
    password: "${params.password}"
    set: {name: "${params.name}"}
  - return: {id: "${steps.person.user_id}", is_new: "${steps.person.is_new}"}
---
workflow: mail_verification
parameters: {email: text}
steps:
  - verify_email: "${params.email}"
    link: "https://shop.example.com/verify?token={token}"
---
workflow: verify
parameters: {token: password}
on: {api: {method: POST, auth: public}}
steps:
  - id: verified
    verify_email: "${params.token}"
  - return: {email: "${steps.verified.email}"}
---
workflow: log_out_public
on: {api: {method: POST, auth: public}}
steps: [{log_out: this}]
"""


def write_app(directory: Path) -> Path:
    """The app's files."""
    (directory / "types").mkdir(parents=True)
    (directory / "workflows").mkdir()
    (directory / "app.yaml").write_text("app: shop\n")
    (directory / "types" / "user.yaml").write_text(TYPES)
    (directory / "workflows" / "all.yaml").write_text(WORKFLOWS)
    return directory


async def post(app: AppUnderTest, workflow: str, bearer: str | None = None, /, **parameters: str) -> Reply:
    """Call a workflow, perhaps with a user's token."""
    headers = None if bearer is None else {"Authorization": f"Bearer {bearer}"}
    return await app.post(f"/api/1.1/wf/{workflow}", {**parameters}, headers=headers)

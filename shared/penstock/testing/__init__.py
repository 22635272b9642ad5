"""A kit for testing apps: run one against a throw-away PostgreSQL, move its time, and look at what its workflows did.

async with open_app("examples/payments", secrets={"STRIPE_WEBHOOK_SECRET": "whsec_1"}) as app:
    run = await app.run("create_order", {"number": "1"})
    assert run.result == {"ok": True}
    await app.advance(timedelta(days=30))
    assert await app.count("order", {"archived": True}) == 1
"""

from penstock.runs.views.models import LogEntry as Line
from penstock.runs.views.models import Step as StepDone
from penstock.testing.app import AppUnderTest
from penstock.testing.mailbox import Mail, Mailbox, open_mailbox
from penstock.testing.opening import open_app
from penstock.testing.replies import Delivered, Reply
from penstock.testing.repository import Run

__all__ = [
    "AppUnderTest",
    "Delivered",
    "Line",
    "Mail",
    "Mailbox",
    "Reply",
    "Run",
    "StepDone",
    "open_app",
    "open_mailbox",
]

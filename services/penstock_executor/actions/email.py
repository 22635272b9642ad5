"""`email: <to>`: a mail, at least once. Every attempt has the same Message-ID, so that copies can be recognised."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock_executor.outside.mailing import send_mail
from penstock_executor.steps.consumption import consumption
from penstock_executor.steps.specs import StepSpec

SPEC: Final = StepSpec(
    action=StepAction.EMAIL,
    target="a recipient",
    arguments=("cc", "bcc", "reply_to", "subject", "text", "html", "headers", "attachments"),
    awaited=send_mail,
    is_apart=True,
    consumes=consumption(Activity.CALL),
)

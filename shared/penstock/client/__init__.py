"""What other programs start runs with: over HTTP, by either port of the ingress, or over AMQP.

`penstock.client.client` is the façade. It makes the idempotency key and the deadline of each call; a `Port` carries the
call out. There is one port for each of the doors of an installation. A `Way` finds which one a URL leads to when the
first call is made.
"""

from penstock.client.client import Client
from penstock.client.errors import ClientError, NotEnded, Refused, RunFailed, Unavailable, Unsupported, WebhookRefused
from penstock.client.values import RunError, RunStatus, ScheduledRun, SignalOutcome
from penstock.client.webhooks import verify_webhook
from penstock.domain.states import RunState

__all__ = [
    "Client",
    "ClientError",
    "NotEnded",
    "Refused",
    "RunError",
    "RunFailed",
    "RunState",
    "RunStatus",
    "ScheduledRun",
    "SignalOutcome",
    "Unavailable",
    "Unsupported",
    "WebhookRefused",
    "verify_webhook",
]

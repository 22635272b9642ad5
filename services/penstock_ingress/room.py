"""What all handlers of this room work with; made in `app.py`."""

from dataclasses import dataclass

from penstock.broker.port import Broker
from penstock.broker.publisher import Publisher
from penstock.db import Database
from penstock.store.installation import Installation
from penstock.store.secrets import Secrets
from penstock.store.workload import Meter
from penstock_ingress.accepting.acceptance import Acceptance
from penstock_ingress.accepting.access import AdminTokens
from penstock_ingress.accepting.answers import Answers
from penstock_ingress.accepting.definitions import Definitions
from penstock_ingress.accepting.signals import Signals
from penstock_ingress.settings import IngressSettings


@dataclass(frozen=True, slots=True)
class Room:
    """`reply_to` is the queue on which this process hears how runs ended."""

    settings: IngressSettings
    database: Database
    broker: Broker
    publisher: Publisher
    definitions: Definitions
    secrets: Secrets
    acceptance: Acceptance
    answers: Answers
    signals: Signals
    admins: AdminTokens
    reply_to: str
    meter: Meter
    installation: Installation

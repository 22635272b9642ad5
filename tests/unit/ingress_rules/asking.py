"""What tests of the ingress's rules share."""

import pytest

from penstock.definitions.models import ApiTrigger
from penstock_ingress.rules.replies import Refusal, Reply

TRIGGER = ApiTrigger()


def refused(attempt: object) -> Reply:
    assert callable(attempt)
    with pytest.raises(Refusal) as caught:
        attempt()
    return caught.value.reply

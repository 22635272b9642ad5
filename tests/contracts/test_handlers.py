"""Every command that is sent has a service that handles it, exactly one."""

from collections import Counter

from penstock.contracts.messages import COMMANDS, RunAnswer
from penstock_executor.handlers import HANDLERS as EXECUTOR
from penstock_scheduler.handlers import HANDLERS as SCHEDULER


def test_every_command_is_handled_by_one_service() -> None:
    # Answers go to the ingress instance whose queue the request names, not to a queue that services share.
    handled = Counter([*EXECUTOR, *SCHEDULER, RunAnswer.TYPE])
    assert handled == Counter(list(COMMANDS))

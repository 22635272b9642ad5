"""A workflow with flow control whose runs call the ledger, and how its runs are admitted."""

from collections.abc import Mapping

from penstock.domain.ids import new_run_id
from penstock.domain.runs import Admitted
from penstock.domain.states import Trigger
from penstock.runs.admission import admit
from penstock.runs.requests import CheckedRun, RunRequest, check_run
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.flow.ledger import Ledger

LOCAL = "127.0.0.0/8"


async def deploy(house: House, ledger: Ledger, flow: str, more: str = "") -> None:
    """A workflow `call` with this flow control, each run of which calls the ledger."""
    await house.deploy(f"""
workflow: call
parameters: {{key: {{type: text, optional: true}}, number: {{type: number, optional: true, default: 0}},
             other: {{type: text, optional: true}}}}
{flow}
steps:
  - http: "{ledger.url}/?key=${{params.key}}&number=${{params.number}}"
{more}
""")


async def admit_all(house: House, *parameters: Mapping[str, str | int], priority: int | None = None) -> list[Admitted]:
    """Admit runs of `call` in one batch, in this order, without telling anybody."""
    deployment = await house.deployments.current(ENVIRONMENT)
    checked = [
        check_run(RunRequest(new_run_id(), ENVIRONMENT, "call", {**given}, Trigger.API, priority=priority), deployment)
        for given in parameters
    ]
    runs = [run for run in checked if isinstance(run, CheckedRun)]
    outcomes = await house.database.in_transaction(lambda conn: admit(conn, runs))
    return [outcome for outcome in outcomes if isinstance(outcome, Admitted)]

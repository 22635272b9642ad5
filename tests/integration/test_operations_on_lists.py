"""Operations on the runs of one list, among many others: each item is looked at once, and no other run is read."""

from datetime import timedelta
from functools import partial

from penstock.db import Connection, Database
from penstock.domain.ids import child_run_id, new_run_id
from penstock.runs.admission import admit
from penstock.runs.lists import ListRequest, insert_list
from penstock.runs.operations import Asked, OperationKind, begin_operation, take_turn
from penstock.runs.operations.items import WINDOW
from penstock.runs.views.finding import RunFilter
from tests.factories import build_run

ENVIRONMENT = "development"
LIVE = (3, WINDOW + 200, 2 * WINDOW + 1)
OTHERS = 2000
_READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'penstock.runs'::regclass"


async def test_runs_of_a_list_are_cancelled_in_passing_and_no_others_are_read(database: Database) -> None:
    list_id = new_run_id()
    request = ListRequest(list_id, ENVIRONMENT, "loop", start_at=timedelta(0))
    await database.in_transaction(partial(insert_list, request=request, parameters=[{}] * (2 * WINDOW + 2)))
    items = [build_run(run_id=child_run_id(list_id, str(index)), list_id=list_id) for index in LIVE]
    await database.in_transaction(partial(admit, runs=items))
    await database.in_transaction(partial(admit, runs=[build_run() for _ in range(OTHERS)]))
    begin = partial(
        begin_operation, kind=OperationKind.CANCEL_RUNS, of=RunFilter(ENVIRONMENT, list_id=list_id),
        asked=Asked("cli:ops", "a test"),
    )  # fmt: skip
    operation = await database.in_transaction(begin)

    async def turn(conn: Connection) -> tuple[int, str, int]:
        taken = await take_turn(conn, id=operation.id)
        assert taken is not None
        read = await conn.fetchval(_READ)
        assert isinstance(read, int)
        return len(taken.cancelled), taken.operation.state, read

    turns = [await database.in_transaction(turn) for _ in LIVE]
    assert [(cancelled, state) for cancelled, state, _ in turns] == [(1, "running"), (1, "running"), (1, "finished")]
    assert max(read for _, _, read in turns) < 50
    async with database.connection() as conn:
        left = await conn.fetchval("SELECT count(*) FROM penstock.runs WHERE finished_at IS NULL")
    assert left == OTHERS

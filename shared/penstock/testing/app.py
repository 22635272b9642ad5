"""An app under test: starts its runs, moves its time, calls it over HTTP, and looks at what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import orjson
from pydantic import JsonValue

from penstock import clock
from penstock.broker.publisher import Publisher
from penstock.contracts.messages import WakeScheduler
from penstock.db import Connection
from penstock.definitions.models import DataType
from penstock.domain.ids import new_run_id, new_thing_id
from penstock.domain.runs import Admission, Admitted, Rejected, RunSummary, Terminated
from penstock.domain.states import RunState, Trigger
from penstock.embedded.deploying import deploy_directory
from penstock.errors import ConfigurationError, Permanent
from penstock.runs.admission import admit
from penstock.runs.requests import CheckedRun, RunRequest, check_run
from penstock.sdk.values import Thing
from penstock.store.deployments import DeploymentCache
from penstock.store.tokens import NewToken, create_token
from penstock.testing import repository, time
from penstock.testing.house import House
from penstock.testing.replies import Delivered, Reply
from penstock.testing.repository import Run
from penstock.testing.signing import find_secret
from penstock.things.changes import tell_changing_run
from penstock.things.constraints import Where
from penstock.things.files import Files, begin_file, file_id, open_file
from penstock.things.ordering import Order
from penstock.things.records import MAX_PAGE, NewThing, Window, count_things, create_things, find_things
from penstock.things.tables import USER
from penstock.things.users import find_user
from penstock.webhooks import Unsigned, sign

T = TypeVar("T")
_LOOK_SECONDS: Final = 0.05
"""How long to wait for an event before looking at the rows all the same: events are best effort."""
_MAX_LOOKS_FOR_LINES: Final = 20
_PREFIXES: Final = {"live": "", "development": "/version-test"}


class AppUnderTest:
    """An app that is deployed to one environment and served in this process. Made by `open_app`."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._deployments = DeploymentCache(house.database)
        self.environment: Final = house.environment

    @property
    def url(self) -> str:
        """Where the public port serves this environment, without a slash at the end: `app.url + "/webhooks/stripe"`."""
        return self._house.url + _PREFIXES[self.environment]

    @property
    def admin_url(self) -> str:
        """Where the management API is served."""
        return self._house.admin_url

    @property
    def admin_headers(self) -> dict[str, str]:
        """Headers that make a request one of an admin."""
        return {"Authorization": f"Bearer {self._house.token}"}

    async def deploy(self) -> None:
        """Deploy the app's directory (again). Raises ConfigurationError with all that is wrong with it."""
        deployed = await deploy_directory(self._house.database, self._house.directory, [self.environment])
        if deployed.app is None:
            raise ConfigurationError(
                "\n".join([f"{self._house.directory} has errors:", *(str(problem) for problem in deployed.problems)])
            )

    async def run(
        self, workflow: str, parameters: Mapping[str, JsonValue] | None = None, *, within: float = 10.0
    ) -> Run:
        """Start a run and wait until it has ended; the runs that it schedules continue: see `wait_until_idle`.

        Raises Permanent for an unknown workflow and wrong parameters, AssertionError when it has not ended `within` so
        many seconds or waits for a time beyond.
        """
        return await self.wait_for(await self.start(workflow, parameters), within=within)

    async def start(
        self, workflow: str, parameters: Mapping[str, JsonValue] | None = None, *, after: timedelta | None = None
    ) -> UUID:
        """Start a run, now or `after` some time, and do not wait for it; its id."""
        deployment = await self._deployments.refresh(self.environment)
        async with self._house.database.connection() as conn:
            due_at = None if after is None else await repository.get_time(conn) + after
        request = RunRequest(
            new_run_id(), self.environment, workflow, parameters or {}, Trigger.MANUAL, scheduled_at=due_at
        )
        run = check_run(request, deployment, self._house.keyring)
        if isinstance(run, Rejected):
            raise Permanent(run.message)
        summary = _run_of(await self._house.database.in_transaction(partial(_admit, run=run)))
        if summary.state is RunState.QUEUED:
            await Publisher(self._house.broker).dispatch([summary])
        return summary.id

    async def wait_for(self, run_id: UUID, *, state: RunState | str | None = None, within: float = 10.0) -> Run:
        """The run once it has ended, or is in `state`. Raises AssertionError as `run` does."""

        async def look() -> Run | None:
            run = await self.get_run(run_id)
            return run if (run.state.is_final if state is None else run.state == state) else None

        found = await self._until(look, within, until_idle=True)
        if found is not None:
            return found
        run = await self.get_run(run_id)
        wanted = "has not ended" if state is None else f"is not {state}"
        hint = (
            "; `start` it and move the time with `advance`"
            if run.state in {RunState.SCHEDULED, RunState.WAITING}
            else ""
        )
        raise AssertionError(f"run {run_id} of {run.workflow} {wanted}: it is {run.state}{hint}. {run}")

    async def wait_until_idle(self, *, within: float = 30.0) -> None:
        """Until nothing is under way and nothing is due: runs, waits, ticks, items of lists. Raises AssertionError when
        it takes longer.
        """

        async def look() -> bool | None:
            return True if await self._is_idle() else None

        if await self._until(look, within) is None:
            async with self._house.database.connection() as conn:
                upcoming = await repository.list_upcoming(conn, environment=self.environment)
            raise AssertionError(
                f"still busy after {within:g} s: {', '.join(f'{name} is {state}' for name, state, _ in upcoming)}"
            )

    async def advance(self, by: timedelta, *, within: float = 30.0) -> None:
        """Move the time forward, from one moment at which something is due to the next, and each time wait until it is
        done.

        What starts at these moments may take `within` seconds each. What the machine's clock decides does not move: how
        old a webhook's signature may be, and how long a step that waits for the outside may take.
        """
        await self.wait_until_idle(within=within)
        async with self._house.database.connection() as conn:
            target = await repository.get_time(conn) + by
        while True:
            async with self._house.database.connection() as conn:
                now, due_at = await repository.get_time(conn), await repository.find_next_due(conn)
                is_last = due_at is None or due_at > target
                await time.advance(conn, max((target if due_at is None or is_last else due_at) - now, timedelta(0)))
            await self._wake()
            await self.wait_until_idle(within=within)
            if is_last:
                return

    async def get_run(self, run_id: UUID) -> Run:
        """A run with its steps and its lines of the log. Raises LookupError."""
        looks = 0
        while True:
            async with self._house.database.connection() as conn:
                run = await repository.get_run(conn, environment=self.environment, run_id=run_id)
            if run is None:
                raise LookupError(f"no run {run_id} in {self.environment}")
            looks += 1
            if run.is_logged or looks == _MAX_LOOKS_FOR_LINES:
                return run
            await asyncio.sleep(_LOOK_SECONDS)

    async def list_runs(self, workflow: str | None = None, *, state: RunState | str | None = None) -> list[Run]:
        """The runs there are, the oldest first: all, or those of a workflow, or in a state."""
        async with self._house.database.connection() as conn:
            return await repository.list_all_runs(conn, environment=self.environment, workflow=workflow, state=state)

    async def find(
        self, type: str, where: Where = None, *, sort: str | None = None, descending: bool = False
    ) -> list[Thing]:
        """All things that meet `where` (a mapping of fields to the values they equal, or a list of constraints).

        A thing is a mapping of its fields, which are attributes too: `thing["Created Date"]`, `thing.number`; and
        `thing.id`.
        """
        kind, order, found, after = await self._type(type), Order(sort, descending), list[Thing](), None
        while True:
            async with self._house.database.connection() as conn:
                page = await find_things(
                    conn,
                    environment=self.environment,
                    data_type=kind,
                    where=where,
                    order=order,
                    window=Window(MAX_PAGE, after),
                )
            found += [Thing(thing, kind.name) for thing in page.results]
            after = page.after
            if after is None:
                return found

    async def count(self, type: str, where: Where = None) -> int:
        """How many things meet `where`."""
        kind = await self._type(type)
        async with self._house.database.connection() as conn:
            return await count_things(conn, environment=self.environment, data_type=kind, where=where)

    async def create(self, type: str, values: Mapping[str, JsonValue]) -> Thing:
        """Create a thing, as it should be before the test. Raises Permanent for values that do not fit its type."""
        kind = await self._type(type)
        thing = NewThing(new_thing_id(), values)
        return await self._house.database.in_transaction(
            partial(_create, environment=self.environment, data_type=kind, thing=thing)
        )

    async def headers_for(self, user: Thing | str) -> dict[str, str]:
        """Headers that make a request one of this user of the app: the thing, its `_id`, or an email.

        Raises Permanent when there is no such user, or several.
        """
        who = user if isinstance(user, str) else str(user["_id"])
        return {"Authorization": f"Bearer {await self._house.database.in_transaction(partial(self._make_token, who))}"}

    async def _make_token(self, who: str, conn: Connection) -> str:
        user_id = await find_user(conn, environment=self.environment, who=who)
        if user_id is None:
            raise Permanent(f"{self.environment} has no user with the id or email {who!r}, or several")
        wanted = NewToken(user_id=user_id, environment=self.environment)
        return (await create_token(conn, wanted, actor="test"))[0]

    async def upload(self, name: str, content: bytes, *, content_type: str = "text/csv") -> JsonValue:
        """Store a file for an `import` or an attachment; the file value, to be given to a workflow as a parameter of
        type `any`.
        """
        writer = await begin_file(
            Files(self._house.database), environment=self.environment, name=name, content_type=content_type, run_id=None
        )
        await writer.write(content)
        return (await writer.finish()).to_json()

    async def download(self, file: JsonValue) -> bytes:
        """The content of a file that a workflow has made, such as by `export`. Raises AssertionError when there is no
        such file.
        """
        id = file_id(file)
        stored = (
            None if id is None else await open_file(Files(self._house.database), environment=self.environment, id=id)
        )
        assert stored is not None, f"there is no file {file}"
        return b"".join([chunk async for chunk in stored])

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """GET `path` below `url`."""
        return await self._request("GET", path, params=params, headers=headers)

    async def post(
        self, path: str, json: JsonValue = None, *, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """POST JSON, or `data` as it is, to `path` below `url`."""
        if data is None:
            data, headers = orjson.dumps(json), {"Content-Type": "application/json", **(headers or {})}
        return await self._request("POST", path, data=data, headers=headers)

    async def deliver(
        self,
        source: str,
        payload: JsonValue = None,
        *,
        type: str | None = None,
        id: str | None = None,
        secret: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Delivered:
        """Send a webhook as its sender would, signed; what it was answered. See `wait_until_idle` for what it starts.

        `type` and `id` are put where the source has them, in a header or in the payload, unless they are there already.
        Without an `id` each delivery has one of its own, so give one to send a copy. It is signed with the first of the
        source's secrets, or with `secret`, such as that of a forger. Raises LookupError for a source that the app does
        not have, and ValueError when its secret is not set, or when only the sender can sign.
        """
        known = (await self._deployments.refresh(self.environment)).app.sources
        if source not in known:
            raise LookupError(f"the app has no source {source!r}; it has {', '.join(sorted(known)) or 'none'}")
        path = f"/webhooks/{source}"
        unsigned = Unsigned(
            payload, clock.now().timestamp(), id or uuid4().hex, type, headers or {}, urlsplit(self.url).path + path
        )
        sent = sign(known[source], secret or find_secret(known[source]), unsigned)
        query = f"?{sent.query}" if sent.query else ""
        reply = await self._request("POST", path + query, headers=sent.headers, data=sent.body)
        return Delivered(reply.status, reply.headers, reply.body)

    async def signal(self, name: str, payload: JsonValue = None) -> None:
        """Send a signal to the run that waits for it, or that will."""
        url = f"{self.admin_url}/v1/{self.environment}/signals/{name}"
        async with self._house.http.post(url, json=payload, headers=self.admin_headers) as response:
            if response.status >= 400:
                raise AssertionError(f"the signal was refused with {response.status}: {await response.text()}")

    async def crash_executor(self) -> None:
        """Let the executor die as if its process were killed, and start another, which takes up its runs: their leases
        have expired.
        """
        await self._house.crash_executor()
        async with self._house.database.connection() as conn:
            await time.advance(conn, self._house.lease)

    async def restart(self) -> None:
        """Stop all services in order, and start them again. What waits is in the database."""
        await self._house.restart()

    async def _request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None,
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        async with self._house.http.request(
            method, self.url + path, params=params, data=data, headers=headers
        ) as response:
            return Reply(response.status, dict(response.headers), await response.read())

    async def _type(self, name: str) -> DataType:
        types = (await self._deployments.refresh(self.environment)).app.types
        kind = types.get(name) or (USER if name == USER.name else None)
        if kind is None:
            raise LookupError(f"the app has no data type {name!r}; it has {', '.join(sorted(types)) or 'none'}")
        return kind

    async def _wake(self) -> None:
        async with self._house.database.connection() as conn:
            now = await repository.get_time(conn)
        await Publisher(self._house.broker).nudge(self.environment, WakeScheduler(due_at=now))

    async def _is_idle(self) -> bool:
        before = self._house.broker.count_settled()
        async with self._house.database.connection() as conn:
            is_busy = await repository.is_busy(conn)
        # A message published meanwhile may be about a run that the query did not see, or saw before it was there.
        return not is_busy and before is not None and before == self._house.broker.count_settled()

    async def _until(
        self, look: Callable[[], Awaitable[T | None]], within: float, *, until_idle: bool = False
    ) -> T | None:
        """What `look` returns, as soon as it is something; None in the end, or when nothing will happen before that."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while True:
            stirred = self._house.stirred
            self._house.check()
            if (found := await look()) is not None:
                return found
            left = deadline - loop.time()
            if left <= 0 or (until_idle and await self._will_stay_idle(left)):
                return await look()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await stirred.wait()

    async def _will_stay_idle(self, seconds: float) -> bool:
        if not await self._is_idle():
            return False
        async with self._house.database.connection() as conn:
            now, due_at = await repository.get_time(conn), await repository.find_next_due(conn)
        return due_at is None or due_at > now + timedelta(seconds=seconds)


async def _create(conn: Connection, *, environment: str, data_type: DataType, thing: NewThing) -> Thing:
    await tell_changing_run(conn, run_id=None)
    (created,) = await create_things(conn, environment=environment, data_type=data_type, things=[thing])
    return Thing(created, data_type.name)


async def _admit(conn: Connection, *, run: CheckedRun) -> Admission:
    return (await admit(conn, [run]))[0]


def _run_of(admission: Admission) -> RunSummary:
    match admission:
        case Admitted(run=run) | Terminated(run=run):
            return run
        case Rejected(message=message):
            raise Permanent(message)
        case _:
            raise AssertionError("a new id cannot be a duplicate")

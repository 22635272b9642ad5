"""An app as data: what the loader makes of an app directory, what is deployed, and what the services perform.

Durations are in seconds. Texts that embed `${…}` and bare expressions are kept as written; `expressions` compiles them.
"""

from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from penstock.definitions.email import EmailSettings
from penstock.definitions.flow import Flow
from penstock.definitions.notifications import Notifications
from penstock.definitions.oidc import Oidc
from penstock.definitions.options import Options, OptionSet
from penstock.definitions.sources import Source
from penstock.domain.depth import DEFAULT_DEPTH_LIMIT
from penstock.domain.ticks import UTC_ZONE, Overlap
from penstock.expressions.lookups import Lookups

ENVIRONMENTS: Final = ("development", "live")
DEFAULT_TIMEOUT_SECONDS: Final = 300.0
DEFAULT_PRIORITY: Final = 5
DEFAULT_CHAIN_RUNS_LIMIT: Final = 1_000_000
DEVELOPMENT_CHAIN_RUNS_LIMIT: Final = 10_000
MAX_CHAIN_WORKLOAD: Final = 1e15
DEFAULT_CATCH_UP_SECONDS: Final = 3600.0


class Model(BaseModel):
    """What all definitions share: frozen, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScalarType(StrEnum):
    """The field types that are not things."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATE_RANGE = "date range"
    ADDRESS = "geographic address"
    FILE = "file"
    IMAGE = "image"
    ANY = "any"
    """Any JSON; for parameters only."""
    PASSWORD = "password"
    """A text that is encrypted before a run has it; for parameters only."""


ONLY_FOR_PARAMETERS: Final = frozenset({ScalarType.ANY, ScalarType.PASSWORD})
"""No field of a thing is of these types."""


class FieldType(NamedTuple):
    """The type of a field or parameter: `name` is a ScalarType's value or the name of a data type. With `options` it is
    a text that is one of them.
    """

    name: str
    is_list: bool = False
    options: Options | None = None

    @property
    def item(self) -> "FieldType":
        """That of an item of a list."""
        return self._replace(is_list=False)

    @property
    def is_thing(self) -> bool:
        """Whether values are ids of things of the data type `name`."""
        return self.name not in frozenset(ScalarType)

    def __str__(self) -> str:
        name = self.name if self.options is None else self.options.name
        return f"list of {name}" if self.is_list else name


class Parameter(Model):
    """A named input of a workflow. `default` stands in when an optional parameter is not given."""

    name: str
    type: FieldType
    is_optional: bool = False
    default: JsonValue = None


class RetryPolicy(Model):
    """How often and when a failure is retried: `backoff * factor ** n` seconds, at most `max`, ± `jitter`."""

    attempts: int = 1
    backoff_seconds: float = 5.0
    factor: float = 2.0
    max_seconds: float = 600.0
    jitter: float = 0.2


class Auth(StrEnum):
    """Who may call an API workflow."""

    PUBLIC = "public"
    USER = "user"
    ADMIN = "admin"


class Respond(StrEnum):
    """When the caller of an API workflow gets the answer."""

    WHEN_DONE = "when_done"
    ON_RETURN = "on_return"
    AT_ONCE = "at_once"


class ApiTrigger(Model):
    """`on: api:`: the workflow can be called over HTTP. `when_skipped` is the status when its condition is not met.

    `redirect` is where callers are sent with what it returns in the query, `redirect_on_error` with what went wrong.
    """

    method: Literal["GET", "POST"] = "POST"
    auth: Auth = Auth.ADMIN
    respond: Respond = Respond.WHEN_DONE
    when_skipped: Literal[200, 400] = 400
    redirect: str | None = None
    redirect_on_error: str | None = None


class WebhookTrigger(Model):
    """`on: webhook:`: started by deliveries of `source` whose type matches one of `types`; `*` is any text."""

    source: str
    types: tuple[str, ...] = ("*",)


class RecurrenceTrigger(Model):
    """`on: recurrence:`: a run at each tick of `cron` in `timezone`. Ticks missed by up to `catch_up_seconds` are made
    up. It ticks not before `start`, not after `end`, and at most `times` ticks; `pause_after_failures` in a row it
    pauses.
    """

    cron: str
    timezone: str = UTC_ZONE
    overlap: Overlap = Overlap.SKIP
    catch_up_seconds: float = DEFAULT_CATCH_UP_SECONDS
    jitter_seconds: float = 0.0
    start: datetime | None = None
    end: datetime | None = None
    times: int | None = None
    pause_after_failures: int | None = None


class Operation(StrEnum):
    """What is done to a thing."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class ChangedBy(StrEnum):
    """Whose changes a change trigger waits for: anyone's, those from outside only, or those of runs only."""

    ANYONE = "anyone"
    OUTSIDE = "outside"
    RUNS = "runs"


class ChangeTrigger(Model):
    """`on: change:`: a run for each of these `operations` on a thing of `type`, if `when` holds or is not given."""

    type: str
    operations: tuple[Operation, ...] = tuple(Operation)
    by: ChangedBy = ChangedBy.ANYONE
    when: str | None = None
    place: str = ""


class RunEnd(StrEnum):
    """The ends of runs that a workflow may wait for."""

    FAILED = "failed"
    TERMINATED = "terminated"
    CANCELLED = "cancelled"


class RunEndTrigger(Model):
    """`on: run:`: a run for each run of one of `workflows` (`*`: any) that ends in one of `states`."""

    states: tuple[RunEnd, ...] = (RunEnd.FAILED,)
    workflows: tuple[str, ...] = ("*",)
    place: str = ""

    def covers(self, workflow: str) -> bool:
        """Whether it waits for ends of this workflow's runs."""
        return "*" in self.workflows or workflow in self.workflows


class StepAction(StrEnum):
    """The kinds of step this version performs."""

    CREATE = "create"
    CREATE_MANY = "create_many"
    GET = "get"
    FIND = "find"
    UPDATE = "update"
    UPDATE_MANY = "update_many"
    DELETE = "delete"
    DELETE_MANY = "delete_many"
    COUNT = "count"
    AGGREGATE = "aggregate"
    EXPORT = "export"
    IMPORT = "import"
    SCHEDULE = "schedule"
    SCHEDULE_LIST = "schedule_list"
    RECUR = "recur"
    STOP_RECURRING = "stop_recurring"
    TRIGGER = "trigger"
    EACH = "each"
    PARALLEL = "parallel"
    RETURN = "return"
    STATE = "state"
    LOG = "log"
    FAIL = "fail"
    STOP = "stop"
    HTTP = "http"
    CALL = "call"
    WAIT = "wait"
    WAIT_UNTIL = "wait_until"
    WAIT_FOR = "wait_for"
    WAIT_FOR_RUNS = "wait_for_runs"
    CANCEL = "cancel"
    STOP_CHAIN = "stop_chain"
    EMAIL = "email"
    SEND = "send"
    PUBLISH = "publish"
    RUN = "run"
    SIGN_UP = "sign_up"
    LOG_IN = "log_in"
    LOG_OUT = "log_out"
    SEND_PASSWORD_RESET = "send_password_reset"
    RESET_PASSWORD = "reset_password"
    VERIFY_EMAIL = "verify_email"


class Step(Model):
    """One step. `target` is what stands behind the action's key, `arguments` its other keys; both may embed `${…}`.

    `place` is `file:line`, for messages. `id` is the author's, or `step<position>`, unique in its workflow. `recursion`
    is the author's reason why a recursion through this step ends; the static check leaves it alone then. `blocks` are
    the steps inside: the `steps` of an `each`, or those of each branch of a `parallel`, by its name.
    """

    id: str
    action: StepAction
    target: JsonValue = None
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    when: str | None = None
    timeout_seconds: float | None = None
    retry: RetryPolicy | None = None
    on_error: Literal["fail", "continue"] = "fail"
    recursion: str | None = None
    lookups: Lookups | None = None
    blocks: dict[str, tuple["Step", ...]] = Field(default_factory=dict)
    place: str = ""


class Workflow(Model):
    """A workflow. `depth_limit` overrides the environment's; `decreases` is an expression over `params`.

    `decreases` proves the progress of a recursion. `python`, `module:function`, replaces the steps.
    """

    name: str
    label: str = ""
    parameters: tuple[Parameter, ...] = ()
    api: ApiTrigger | None = None
    webhooks: tuple[WebhookTrigger, ...] = ()
    recurrences: tuple[RecurrenceTrigger, ...] = ()
    changes: tuple[ChangeTrigger, ...] = ()
    run_ends: tuple[RunEndTrigger, ...] = ()
    when: str | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    retries: RetryPolicy = RetryPolicy()
    depth_limit: int | None = None
    is_recursive: bool = False
    decreases: str | None = None
    priority: int = DEFAULT_PRIORITY
    flow: Flow | None = None
    ignore_privacy: bool = False
    steps: tuple[Step, ...] = ()
    python: str | None = None
    lookups: Lookups | None = None
    place: str = ""

    @cached_property
    def passwords(self) -> frozenset[str]:
        """The names of its parameters that are passwords."""
        return frozenset(one.name for one in self.parameters if one.type.name == ScalarType.PASSWORD)


class DataField(Model):
    """A field of a data type; `column` is its column in the type's table."""

    name: str
    type: FieldType
    column: str


class RuleCondition(Model):
    """A constraint of a privacy rule; texts of its value may embed expressions over `user` and `now`."""

    key: str
    constraint_type: str
    value: JsonValue = None


class PrivacyRule(Model):
    """What a person may do with things that meet all of `when`, if that person meets `users`, an expression over `user`
    and `now`; with neither, it is for everyone whom no other rule is for. `view` is `all` or field names.
    """

    name: str
    when: dict[str, JsonValue] | tuple[RuleCondition, ...] | None = None
    users: str | None = None
    find: bool = False
    view: Literal["all"] | tuple[str, ...] = ()
    create: bool = False
    modify: bool = False
    delete: bool = False


class DataType(Model):
    """A type of things; `unique` holds groups of field names whose values together occur once, `indexes` those by which
    things are often searched or sorted, `words` the fields whose texts are often searched for words.
    """

    name: str
    display: str = ""
    is_in_api: bool = False
    fields: tuple[DataField, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    words: tuple[str, ...] = ()
    privacy: tuple[PrivacyRule, ...] = ()
    place: str = ""


class Connector(Model):
    """A service that `call` steps call. `base_url` and the headers are texts that may embed `${secrets.NAME}`.

    `allow_private` says that its addresses may be private ones, or in which networks they may be.
    """

    name: str
    base_url: str
    headers: dict[str, str] = Field(default_factory=dict)
    timeout_seconds: float = 60.0
    allow_private: bool | tuple[str, ...] = False
    place: str = ""


class EnvironmentLimits(Model):
    """The limits an app asks for in one environment when it is first deployed there."""

    depth_limit: int = DEFAULT_DEPTH_LIMIT
    depth_policy: Literal["terminate", "observe"] = "terminate"
    chain_runs_limit: int = DEFAULT_CHAIN_RUNS_LIMIT
    chain_workload_limit: float | None = None
    retention: str | None = None
    """How long what has ended is kept, such as `30d`; None: as `DEFAULT_RETENTION` says."""
    notifications: Notifications | None = None
    """In place of those of the app."""


def default_limits(environment: str) -> EnvironmentLimits:
    """What holds where an app asks for nothing: smaller chains in development, where loops are written."""
    is_small = environment == "development"
    return EnvironmentLimits(chain_runs_limit=DEVELOPMENT_CHAIN_RUNS_LIMIT) if is_small else EnvironmentLimits()


class App(Model):
    """A whole app, as deployed. `python` names its modules; executors import them from a directory of their own."""

    name: str
    admins: tuple[str, ...] = ()
    notifications: Notifications | None = None
    environments: dict[str, EnvironmentLimits] = Field(default_factory=dict)
    sources: dict[str, Source] = Field(default_factory=dict)
    connectors: dict[str, Connector] = Field(default_factory=dict)
    email: EmailSettings | None = None
    oidc: Oidc | None = None
    options: dict[str, OptionSet] = Field(default_factory=dict)
    types: dict[str, DataType] = Field(default_factory=dict)
    workflows: dict[str, Workflow] = Field(default_factory=dict)
    python: tuple[str, ...] = ()

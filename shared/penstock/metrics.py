"""What Prometheus sees. One registry per process; all names begin with `penstock_`, and docs/metrics.md is made from
them.

Names that come from outside never become labels: routes, outcomes and states are ours, workflows and sources are those
that are deployed, and of these only the first MAX_NAMES that a process meets have values of their own. The rest is
`other`, so a process has a bounded number of series whatever is deployed to it.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)

MAX_NAMES: Final = 100
"""Names of workflows, and as many of sources, that have values of their own in one process."""
OTHER: Final = "other"
ENVIRONMENTS: Final = ("development", "live")
COUNTED_OUTCOMES: Final = frozenset({"admitted", "succeeded", "failed", "skipped", "cancelled", "terminated"})

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_ITEMS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_DEPTHS = (0, 1, 2, 3, 5, 8, 12, 16, 20, 25, 30, 50, 100)


class PlainHistogram(Collector):
    """A histogram without labels, for one thread: a value takes a quarter of the time that the library's own takes.

    `buckets` are upper bounds, in order; the one without a bound is added.
    """

    def __init__(
        self, name: str, documentation: str, *, buckets: Sequence[float], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = (*buckets, float("inf"))
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._created_at = time.time()
        registry.register(self)

    def observe(self, value: float) -> None:
        """Count `value` in the first bucket whose bound is not below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """What the registry asks for: the counts up to each bound."""
        bounds = map(floatToGoString, self._bounds)
        family = HistogramMetricFamily(self._name, self._documentation)
        family.add_metric([], list(zip(bounds, accumulate(self._counts), strict=True)), self._sum)
        family.add_sample(f"{self._name}_created", {}, self._created_at)
        return [family]


HTTP_REQUESTS = Counter(
    "penstock_http_requests_total",
    "Requests that the ports have answered; those to the management API have the route `management`",
    ("route", "status"),
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "penstock_http_request_seconds",
    "Time to answer a request, in seconds",
    ("route",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
EVENT_STREAMS = Gauge(
    "penstock_event_streams", "Streams of server-sent events that this process sends", registry=REGISTRY
)
DELIVERIES = Counter(
    "penstock_deliveries_total",
    "Webhook requests, by the verdict on them or what became of them",
    ("source", "outcome"),
    registry=REGISTRY,
)
ADMISSIONS = Counter("penstock_admissions_total", "Requests for runs, by outcome", ("outcome",), registry=REGISTRY)
RUN_DEPTH = Histogram(
    "penstock_run_depth",
    "Depth in its chain of each run that was admitted, in hops from the root; beyond the limit they are terminated",
    ("environment",),
    buckets=_DEPTHS,
    registry=REGISTRY,
)
TERMINATIONS = Counter(
    "penstock_terminated_runs_total", "Runs stopped by a protection", ("environment", "reason"), registry=REGISTRY
)
OBSERVED_CUTS = Counter(
    "penstock_observed_runs_total",
    "Runs that a protection would have stopped",
    ("environment", "reason"),
    registry=REGISTRY,
)
DISPATCHED = Counter("penstock_dispatched_runs_total", "Runs that an ingress handed to the broker", registry=REGISTRY)
RUNS_FINISHED = Counter(
    "penstock_finished_runs_total",
    "Attempts that ended, by the state that their run came into",
    ("environment", "workflow", "state"),
    registry=REGISTRY,
)
RUN_SECONDS = PlainHistogram(
    "penstock_run_seconds", "Time from claim to outcome of an attempt, in seconds", buckets=_SECONDS
)
STEP_SECONDS = Histogram(
    "penstock_step_seconds",
    "Time of each try of a step that waits for something outside of the executor, by kind of step, in seconds",
    ("action",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
START_LATENESS_SECONDS = PlainHistogram(
    "penstock_start_lateness_seconds",
    "Claim of a run's first attempt minus the time at which it was due, in seconds",
    buckets=_SECONDS,
)
RUNS_RUNNING = Gauge("penstock_runs_running", "Runs that this executor performs", registry=REGISTRY)
EXECUTOR_SLOTS = Gauge("penstock_executor_slots", "Runs that this executor may perform at once", registry=REGISTRY)
RUNS_READY = Gauge(
    "penstock_runs_ready",
    "Runs that are due and wait for an executor, by lane, with due items of lists. Exact to 100,000; every scheduler "
    "reports the same figure",
    ("lane",),
    registry=REGISTRY,
)
OLDEST_READY_SECONDS = Gauge(
    "penstock_oldest_ready_run_seconds",
    "Age of the oldest run that is due and waits for an executor, by lane, in seconds",
    ("lane",),
    registry=REGISTRY,
)
RUNS_SCHEDULED = Gauge(
    "penstock_runs_scheduled",
    "Runs admitted for later. Exact to 10,000, beyond that as of the last vacuum",
    registry=REGISTRY,
)
RUNS_WAITING = Gauge(
    "penstock_runs_waiting",
    "Runs that wait in a step, for a time or a signal. Exact to 10,000, beyond that as of the last vacuum",
    registry=REGISTRY,
)
RUNS_HELD = Gauge(
    "penstock_runs_held",
    "Runs that a pause or a limit of their workflow holds back, counted to 10,000; no executor is needed for them",
    registry=REGISTRY,
)
DEAD_LETTERS_OPEN = Gauge(
    "penstock_dead_letters_open",
    "Dead letters that are open, counted to 10,000 in all; every scheduler reports the same figure",
    ("environment", "kind"),
    registry=REGISTRY,
)
BACKLOG_MEASURED = Gauge(
    "penstock_backlog_measured_timestamp_seconds",
    "When this scheduler last measured what waits, in seconds since 1970",
    registry=REGISTRY,
)
LEASES_LOST = Counter(
    "penstock_leases_lost_total", "Runs that this executor had to leave to another attempt", registry=REGISTRY
)
DEAD_LETTERED = Counter(
    "penstock_dead_lettered_messages_total",
    "Messages that were put into the dead letters",
    ("queue",),
    registry=REGISTRY,
)
REAPED = Counter(
    "penstock_reaped_runs_total",
    "Runs taken back from dead executors, by the state that they came into",
    ("state",),
    registry=REGISTRY,
)
WORKLOAD_UNITS = Counter(
    "penstock_workload_units_total",
    "Workload units metered in this process",
    ("environment", "activity"),
    registry=REGISTRY,
)
REDISPATCHED = Counter("penstock_redispatched_runs_total", "Runs whose dispatch was lost", registry=REGISTRY)
RECURRENCE_TICKS = Counter(
    "penstock_recurrence_ticks_total", "Ticks of recurrences, by outcome", ("outcome",), registry=REGISTRY
)
BROKER_UP = Gauge(
    "penstock_broker_up",
    "Whether the connection to the broker can be used, 1 or 0, by its purpose",
    ("purpose",),
    registry=REGISTRY,
)
BROKER_LOSSES = Counter(
    "penstock_broker_losses_total",
    "Connections to the broker that were lost, or blocked by it, by purpose",
    ("purpose",),
    registry=REGISTRY,
)
PUBLISH_FAILURES = Counter(
    "penstock_publish_failures_total", "Messages that the broker did not confirm", registry=REGISTRY
)
EVENTS_DROPPED = Counter(
    "penstock_dropped_events_total", "Events and answers that were not published", registry=REGISTRY
)
DATABASE_CONNECTIONS = Gauge(
    "penstock_database_connections",
    "Connections to PostgreSQL of this process: `used`, `idle`, or `limit` for how many there may be",
    ("state",),
    registry=REGISTRY,
)
DATABASE_WAITING = Gauge(
    "penstock_database_waiting", "Tasks that wait for a connection to PostgreSQL", registry=REGISTRY
)
DATABASE_UNAVAILABLE = Counter(
    "penstock_database_unavailable_total",
    "Uses of PostgreSQL that failed because it was out of reach",
    registry=REGISTRY,
)
BATCH_ITEMS = Histogram(
    "penstock_batch_items",
    "Items that left together in one batch, by kind of batch",
    ("batch",),
    buckets=_ITEMS,
    registry=REGISTRY,
)
BATCH_SECONDS = Histogram(
    "penstock_batch_seconds",
    "Time to write one batch, by kind of batch; `claims` is how long a claim takes, in seconds",
    ("batch",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
LOOP_TURNS = Counter(
    "penstock_loop_turns_total",
    "Turns of the loops, by outcome: `done` or `failed`",
    ("loop", "outcome"),
    registry=REGISTRY,
)
LOOP_SECONDS = Counter(
    "penstock_loop_busy_seconds_total",
    "Time that the turns of a loop have taken, in seconds",
    ("loop",),
    registry=REGISTRY,
)
LOG_LINES_LOST = Counter(
    "penstock_log_lines_lost_total",
    "Lines of the log that were not written, because the database was away for long or refused them",
    ("environment",),
    registry=REGISTRY,
)
STUCK_PARTS = Gauge(
    "penstock_stuck_parts",
    "Loops, messages and consumers that are stuck; above 0, the liveness probe of this process fails",
    registry=REGISTRY,
)
WORKER_RESTARTS = Counter(
    "penstock_worker_restarts_total",
    "Processes of an executor with several that have ended, and were replaced",
    registry=REGISTRY,
)
SPANS = Counter(
    "penstock_spans_total",
    "Spans of traces: `ended`, `exported` to the collector, or `failed`; zero while tracing is off",
    ("outcome",),
    registry=REGISTRY,
)


class Names:
    """Names as values of a label: the first `most` that are met as they are, all others as OTHER."""

    def __init__(self, most: int = MAX_NAMES) -> None:
        self._most = most
        self._known: set[str] = set()

    def bound(self, name: str) -> str:
        """`name`, or OTHER."""
        if name not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
        return name


WORKFLOWS: Final = Names()
SOURCES: Final = Names()


@lru_cache(maxsize=2000)
def finished_runs(environment: str, workflow: str, state: str) -> Counter:
    """The counter of a workflow's attempts that ended in `state`."""
    return RUNS_FINISHED.labels(environment, WORKFLOWS.bound(workflow), state)


@lru_cache(maxsize=2000)
def deliveries(source: str, outcome: str) -> Counter:
    """The counter of a source's requests; `source` is one that is deployed, or empty."""
    return DELIVERIES.labels(SOURCES.bound(source), outcome)


@lru_cache(maxsize=10)
def run_depth(environment: str) -> Histogram:
    """The histogram of the depths in one environment."""
    return RUN_DEPTH.labels(environment)


@lru_cache(maxsize=100)
def step_seconds(action: str) -> Histogram:
    """The histogram of one kind of step."""
    return STEP_SECONDS.labels(action)


def watch_pool(used: Callable[[], int], idle: Callable[[], int], limit: int, waiting: Callable[[], int]) -> None:
    """Read the state of the pool of connections whenever the metrics are."""
    DATABASE_CONNECTIONS.labels("used").set_function(used)
    DATABASE_CONNECTIONS.labels("idle").set_function(idle)
    DATABASE_CONNECTIONS.labels("limit").set(limit)
    DATABASE_WAITING.set_function(waiting)


def read_run_counts() -> dict[tuple[str, str], int]:
    """How many runs this process has admitted, terminated and brought to an end, by environment and outcome."""
    counts: dict[tuple[str, str], int] = {}
    for counter, name in ((RUNS_FINISHED, "state"), (TERMINATIONS, None), (RUN_DEPTH, "admitted")):
        for sample in (sample for metric in counter.collect() for sample in metric.samples):
            if sample.name.endswith(("_created", "_bucket", "_sum")):
                continue
            outcome = sample.labels["state"] if name == "state" else name or "terminated"
            if outcome in COUNTED_OUTCOMES:
                key = (sample.labels["environment"], outcome)
                counts[key] = counts.get(key, 0) + int(sample.value)
    return counts


def render_process_metrics() -> str:
    """What is true of a process that only has others work, in Prometheus' text format."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(WORKER_RESTARTS)
    return generate_latest(registry).decode()


def render_metrics() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)

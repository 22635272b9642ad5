"""What Prometheus sees. One registry per process; all names begin with `penstock_`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

HTTP_REQUESTS = Counter("penstock_http_requests_total", "Requests answered", ("route", "status"), registry=REGISTRY)
HTTP_SECONDS = Histogram(
    "penstock_http_request_seconds", "Time to answer", ("route",), buckets=_SECONDS, registry=REGISTRY
)
DELIVERIES = Counter(
    "penstock_deliveries_total", "Webhook requests, by outcome", ("source", "outcome"), registry=REGISTRY
)
ADMISSIONS = Counter("penstock_admissions_total", "Requests for runs, by outcome", ("outcome",), registry=REGISTRY)
TERMINATIONS = Counter(
    "penstock_terminated_runs_total", "Runs stopped by a protection", ("environment", "reason"), registry=REGISTRY
)
OBSERVED_CUTS = Counter(
    "penstock_observed_runs_total",
    "Runs that a protection would have stopped",
    ("environment", "reason"),
    registry=REGISTRY,
)
DISPATCHED = Counter("penstock_dispatched_runs_total", "Runs handed to the broker", registry=REGISTRY)
RUNS_FINISHED = Counter("penstock_finished_runs_total", "Attempts that ended, by state", ("state",), registry=REGISTRY)
RUN_SECONDS = Histogram("penstock_run_seconds", "Time from claim to outcome", buckets=_SECONDS, registry=REGISTRY)
START_LATENESS_SECONDS = Histogram(
    "penstock_start_lateness_seconds", "Claim minus due time", buckets=_SECONDS, registry=REGISTRY
)
RUNS_RUNNING = Gauge("penstock_runs_running", "Runs that this executor performs", registry=REGISTRY)
RUNS_READY = Gauge("penstock_runs_ready", "Runs that are due and wait for an executor", registry=REGISTRY)
OLDEST_READY_SECONDS = Gauge("penstock_oldest_ready_run_seconds", "Age of the oldest run that waits", registry=REGISTRY)
RUNS_SCHEDULED = Gauge("penstock_runs_scheduled", "Runs admitted for later", registry=REGISTRY)
RUNS_WAITING = Gauge("penstock_runs_waiting", "Runs that wait in a step, for a time or a signal", registry=REGISTRY)
DEAD_LETTERED = Counter(
    "penstock_dead_lettered_messages_total", "Messages that were not understood", ("queue",), registry=REGISTRY
)
REAPED = Counter("penstock_reaped_runs_total", "Runs taken back from dead executors", registry=REGISTRY)
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


def render_metrics() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)

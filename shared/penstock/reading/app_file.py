"""Reads app.yaml: name, admins, limits per environment, who may send webhooks, who is called, and how mail is sent."""

import re
from typing import Final, NamedTuple

from penstock.definitions.email import EmailSettings
from penstock.definitions.models import ENVIRONMENTS, MAX_CHAIN_WORKLOAD, Connector, EnvironmentLimits, default_limits
from penstock.definitions.notifications import Notifications
from penstock.definitions.oidc import Oidc
from penstock.definitions.options import OptionSet
from penstock.definitions.sources import Source
from penstock.domain.depth import MAX_DEPTH
from penstock.domain.mail_addresses import parse_address
from penstock.domain.retention import read_retention
from penstock.reading.connectors import read_connectors
from penstock.reading.documents import Node, Scalar, describe
from penstock.reading.index import read_name
from penstock.reading.mail import read_email
from penstock.reading.notifications import read_notifications
from penstock.reading.oidc import read_oidc
from penstock.reading.option_sets import read_option_sets
from penstock.reading.places import Place, Report, shorten
from penstock.reading.sources import read_sources
from penstock.reading.tables import Table

MAX_CHAIN_RUNS: Final = 10**12
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


class AppHead(NamedTuple):
    """What app.yaml says."""

    name: str
    admins: tuple[str, ...]
    notifications: Notifications | None
    environments: dict[str, EnvironmentLimits]
    sources: dict[str, Source]
    connectors: dict[str, Connector]
    email: EmailSettings | None
    oidc: Oidc | None
    options: dict[str, OptionSet]
    python: dict[str, Place]


def read_app_file(document: Node, report: Report) -> AppHead:
    """The content of app.yaml; problems go to the report."""
    table = Table(document, document.place, "app.yaml", report)
    head = AppHead(
        name=read_name(table, "app", "app: shop", 63) or "",
        admins=_read_admins(table),
        notifications=read_notifications(table),
        environments=_read_environments(table),
        sources=read_sources(table),
        connectors=read_connectors(table),
        email=read_email(table),
        oidc=read_oidc(table),
        options=read_option_sets(table),
        python=_read_python(table),
    )
    table.close()
    return head


def _read_admins(table: Table) -> tuple[str, ...]:
    admins = table.texts("admins")
    for address, place in admins:
        try:
            parse_address(address)
        except ValueError as error:
            table.report.error(place, str(error))
    return tuple(address for address, _ in admins)


def _read_python(table: Table) -> dict[str, Place]:
    modules: dict[str, Place] = {}
    for name, place in table.texts("python"):
        if _MODULE.fullmatch(name) and not name.endswith(".py"):
            modules.setdefault(name, place)
        else:
            hint = (
                f"did you mean {name.removesuffix('.py').strip('./').replace('/', '.')!r}?"
                if "/" in name or name.endswith(".py")
                else ""
            )
            table.report.error(
                place, f"{shorten(name)!r} is not the name of a module", hint or "such as shop.workflows"
            )
    return modules


def _read_retention(given: Table) -> str | None:
    node = given.node("retention")
    if node is None:
        return None
    try:
        return read_retention(node.text if isinstance(node, Scalar) else describe(node))
    except ValueError as error:
        given.report.error(node.place, f"'retention': {error}")
        return None


def _read_environments(table: Table) -> dict[str, EnvironmentLimits]:
    environments = table.table("environments", "'environments'")
    limits: dict[str, EnvironmentLimits] = {}
    for name in ENVIRONMENTS:
        given = environments.table(name, f"the environment {name!r}")
        default = default_limits(name)
        depth_limit = given.integer("depth_limit", 0, MAX_DEPTH)
        chain_runs_limit = given.integer("chain_runs_limit", 1, MAX_CHAIN_RUNS)
        policy, workload = given.one_of("depth_policy", ("terminate", "observe")), given.node("chain_workload_limit")
        is_limited = not isinstance(workload, Scalar) or workload.value is not None
        limits[name] = EnvironmentLimits(
            depth_policy="observe" if policy == "observe" else "terminate",
            chain_workload_limit=given.number("chain_workload_limit", 1, MAX_CHAIN_WORKLOAD) if is_limited else None,
            depth_limit=default.depth_limit if depth_limit is None else depth_limit,
            chain_runs_limit=default.chain_runs_limit if chain_runs_limit is None else chain_runs_limit,
            retention=_read_retention(given),
            notifications=read_notifications(given),
        )
        given.close()
    environments.close()
    return limits

"""Reads the flow control of a workflow: `concurrency`, `rate`, `sequence` and `debounce`."""

from collections.abc import Callable
from typing import TypeVar

from penstock.definitions.flow import (
    KEY_NAMES,
    MAX_LIMIT,
    MAX_PERIOD_SECONDS,
    MAX_RULES,
    Concurrency,
    Debounce,
    Flow,
    Rate,
    Sequence,
)
from penstock.reading.documents import Sequence as Nodes
from penstock.reading.scopes import Scope, check_expression
from penstock.reading.tables import Table

Rule = TypeVar("Rule")
_EXAMPLES = {
    "concurrency": "concurrency: {limit: 1, key: params.owner}",
    "rate": "rate: {limit: 100, per: 1m, key: params.owner}",
    "sequence": "sequence: {key: params.owner, on_failure: block}",
    "debounce": "debounce: {quiet: 2s, key: params.owner, max: 1m}",
}


def read_flow(table: Table, scope: Scope) -> Flow | None:
    """The flow control of a workflow; None when it has none. `scope` is what its condition may use."""
    scope = Scope(
        scope.names & KEY_NAMES,
        {name: members for name, members in scope.members.items() if name in KEY_NAMES},
        kinds=scope.kinds,
    )
    flow = Flow(
        concurrency=_read_several(table, "concurrency", lambda given: _read_concurrency(given, scope)),
        rates=_read_several(table, "rate", lambda given: _read_rate(given, scope)),
        sequence=_read_one(table, "sequence", lambda given: _read_sequence(given, scope)),
        debounce=_read_one(table, "debounce", lambda given: _read_debounce(given, scope)),
    )
    return None if flow == Flow() else flow


def _read_several(table: Table, name: str, read: Callable[[Table], Rule | None]) -> tuple[Rule, ...]:
    node = table.node(name)
    if node is None:
        return ()
    nodes = node.items if isinstance(node, Nodes) else (node,)
    if len(nodes) > MAX_RULES:
        table.report.error(table.key_place(name), f"a workflow has at most {MAX_RULES} of {name!r}")
        nodes = nodes[:MAX_RULES]
    rules = [read(Table(item, item.place, f"{name!r}", table.report, f"such as {_EXAMPLES[name]}")) for item in nodes]
    return tuple(rule for rule in rules if rule is not None)


def _read_one(table: Table, name: str, read: Callable[[Table], Rule | None]) -> Rule | None:
    if table.node(name) is None:
        return None
    return read(table.table(name, f"{name!r}", f"such as {_EXAMPLES[name]}"))


def _read_concurrency(given: Table, scope: Scope) -> Concurrency | None:
    limit = given.integer("limit", 1, MAX_LIMIT) if given.require("limit", _EXAMPLES["concurrency"]) else None
    key = _read_key(given, scope)
    given.close()
    return None if limit is None else Concurrency(limit=limit, key=key)


def _read_rate(given: Table, scope: Scope) -> Rate | None:
    limit = given.integer("limit", 1, MAX_LIMIT) if given.require("limit", _EXAMPLES["rate"]) else None
    per = given.seconds("per", is_zero_allowed=False) if given.require("per", _EXAMPLES["rate"]) else None
    if per is not None and per > MAX_PERIOD_SECONDS:
        given.report.error(given.key_place("per"), "'per' is at most 31d")
    key = _read_key(given, scope)
    given.close()
    return None if limit is None or per is None else Rate(limit=limit, per_seconds=per, key=key)


def _read_sequence(given: Table, scope: Scope) -> Sequence:
    key, on_failure = _read_key(given, scope), given.one_of("on_failure", ["block", "skip"])
    given.close()
    return Sequence(key=key, on_failure="skip" if on_failure == "skip" else "block")


def _read_debounce(given: Table, scope: Scope) -> Debounce | None:
    quiet = given.seconds("quiet", is_zero_allowed=False) if given.require("quiet", _EXAMPLES["debounce"]) else None
    longest = given.seconds("max", is_zero_allowed=False)
    if quiet is not None and longest is not None and longest < quiet:
        given.report.error(given.key_place("max"), "'max' is at least as long as 'quiet'")
    key = _read_key(given, scope)
    given.close()
    return None if quiet is None else Debounce(quiet_seconds=quiet, max_seconds=longest, key=key)


def _read_key(given: Table, scope: Scope) -> str | None:
    node = given.node("key")
    return None if node is None else check_expression(node, "key", scope, given.report)

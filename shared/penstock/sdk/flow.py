"""Flow control as a decorator says it: the keys of YAML, in dictionaries."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from penstock.definitions import flow
from penstock.definitions.flow import MAX_LIMIT, MAX_PERIOD_SECONDS, MAX_RULES, Flow
from penstock.sdk.triggers import Duration, to_seconds

Keys = Mapping[str, str | int | float | Duration]
OneOrMore = Keys | Sequence[Keys]
_KNOWN: Final = {
    "concurrency": ({"limit"}, {"limit", "key"}),
    "rate": ({"limit", "per"}, {"limit", "per", "key"}),
    "sequence": (set[str](), {"key", "on_failure"}),
    "debounce": ({"quiet"}, {"quiet", "key", "max"}),
}
"""The keys that each kind needs, and those that it takes."""


def make_flow(
    concurrency: OneOrMore = (), rate: OneOrMore = (), sequence: Keys | None = None, debounce: Keys | None = None
) -> Flow | None:
    """The flow control that these describe; None for none. Raises ValueError, naming the key that is wrong."""
    found = Flow(
        concurrency=tuple(
            flow.Concurrency(limit=_limit("concurrency", given), key=_key("concurrency", given))
            for given in _several("concurrency", concurrency)
        ),
        rates=tuple(
            flow.Rate(limit=_limit("rate", given), per_seconds=_seconds("rate", "per", given), key=_key("rate", given))
            for given in _several("rate", rate)
        ),
        sequence=None if sequence is None else _sequence(sequence),
        debounce=None if debounce is None else _debounce(debounce),
    )
    return None if found == Flow() else found


def _sequence(given: Keys) -> flow.Sequence:
    _check_keys("sequence", given)
    on_failure = given.get("on_failure", "block")
    if on_failure not in ("block", "skip"):
        raise ValueError(f"sequence: on_failure is 'block' or 'skip', not {on_failure!r}")
    chosen: Literal["block", "skip"] = "skip" if on_failure == "skip" else "block"
    return flow.Sequence(key=_key("sequence", given), on_failure=chosen)


def _debounce(given: Keys) -> flow.Debounce:
    _check_keys("debounce", given)
    quiet = _seconds("debounce", "quiet", given)
    longest = _seconds("debounce", "max", given) if "max" in given else None
    if longest is not None and longest < quiet:
        raise ValueError("debounce: max is at least as long as quiet")
    return flow.Debounce(quiet_seconds=quiet, max_seconds=longest, key=_key("debounce", given))


def _several(kind: str, given: OneOrMore) -> Sequence[Keys]:
    rules = [given] if isinstance(given, Mapping) else list(given)
    if len(rules) > MAX_RULES:
        raise ValueError(f"{kind}: at most {MAX_RULES} of them")
    for rule in rules:
        _check_keys(kind, rule)
    return rules


def _check_keys(kind: str, given: Keys) -> None:
    needed, known = _KNOWN[kind]
    if not needed <= set(given) <= known:
        raise ValueError(f"{kind} is a dictionary with the keys {', '.join(sorted(known))}, and not {given!r}")


def _limit(kind: str, given: Keys) -> int:
    limit = given["limit"]
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"{kind}: limit is a whole number from 1 to {MAX_LIMIT}, not {limit!r}")
    return limit


def _seconds(kind: str, name: str, given: Keys) -> float:
    seconds = to_seconds(given[name])
    if not 0 < seconds <= MAX_PERIOD_SECONDS:
        raise ValueError(f"{kind}: {name} is a duration above 0 and at most 31d, not {given[name]!r}")
    return seconds


def _key(kind: str, given: Keys) -> str | None:
    key = given.get("key")
    if key is not None and not isinstance(key, str):
        raise ValueError(f"{kind}: key is an expression, such as 'params.owner', not {key!r}")
    return key

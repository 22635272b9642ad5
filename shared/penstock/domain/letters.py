"""What notifications say, by their kind: what happened, where, how often, and the commands that help."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.domain.notices import NoticeKind, kind_of

Details = Mapping[str, JsonValue]
_WORKLOAD_SUBJECTS: Final = {
    "allowance_75": "has used 75 % of the month's workload",
    "allowance_100": "has used up the month's workload",
    "spike": "consumes far more workload than usual",
}
_WHAT: Final = {
    NoticeKind.TERMINATIONS: "run was terminated|runs were terminated",
    NoticeKind.OBSERVED: "run would have been terminated|runs would have been terminated",
    NoticeKind.STOPS: "chain was stopped|chains were stopped",
    NoticeKind.WARNINGS: "chain came near a limit|chains came near a limit",
    NoticeKind.RECURRENCES: "tick of a recurrence failed|ticks of recurrences failed",
    NoticeKind.DEAD_LETTERS: "dead letter was added|dead letters were added",
    NoticeKind.WORKLOAD: "threshold was reached|thresholds were reached",
}
"""What is counted, one and several."""
_MAX_SUBJECT: Final = 100


class Letter(NamedTuple):
    """A notification in words. `command` is the one that does most about it, `url` the page of the console, if its
    address is known.
    """

    subject: str
    message: str
    text: str
    command: str
    url: str | None


def write_letter(name: str, environment: str, details: Details, console_url: str | None = None) -> Letter:
    """The letter about a notice of the kind `name`, which may be followed by a dot and a topic."""
    kind = kind_of(name)
    subject = _subject(kind, name.partition(".")[2], environment, details)
    commands = _COMMANDS[kind](environment, details)
    message = _text(details, "message") or subject
    lines = [message, "", f"{'Environment:':<14}{environment}", *_facts(details), *_counts(kind, details)]
    url = None if console_url is None else _find_page(kind, console_url, environment, details)
    lines += ["", "What to do:"]
    if url is not None:
        lines += ["  Look at it in the console:", f"    {url}"]
    for hint, command in commands:
        lines += [f"  {hint}:", f"    {command}"]
    lines += ["", _rhythm(kind, details)]
    return Letter(subject, message, "\n".join(lines) + "\n", commands[0][1], url)


def _find_page(kind: NoticeKind, console_url: str, environment: str, details: Details) -> str:
    """The page where one sees what happened, and does something about it."""
    chain, run = _text(details, "chain_id"), _text(details, "run_id")
    match kind:
        case NoticeKind.RECURRENCES:
            page = f"runs/{run}" if run else "schedule"
        case NoticeKind.WORKLOAD:
            page = "workload"
        case NoticeKind.DEAD_LETTERS:
            page = "dead-letters"
        case _:
            page = f"chains/{chain}" if chain else "overview"
    return f"{console_url.rstrip('/')}/console/{environment}/{page}"


def _subject(kind: NoticeKind, topic: str, environment: str, details: Details) -> str:
    workflow = " ".join(_text(details, "workflow").split())[:_MAX_SUBJECT] or "a run"
    match kind:
        case NoticeKind.TERMINATIONS:
            return f"{workflow} was terminated in {environment}"
        case NoticeKind.OBSERVED:
            return f"{workflow} would have been terminated in {environment}"
        case NoticeKind.STOPS:
            return f"a chain was stopped in {environment}"
        case NoticeKind.WARNINGS:
            return f"a chain comes near a limit in {environment}"
        case NoticeKind.RECURRENCES:
            what = "was paused" if topic == "paused" else "failed"
            return f"the recurrence of {workflow} {what} in {environment}"
        case NoticeKind.DEAD_LETTERS if topic == "run":
            return f"{workflow} has failed in {environment}"
        case NoticeKind.DEAD_LETTERS:
            return f"a message was dead-lettered in {environment}"
        case NoticeKind.WORKLOAD:
            return f"{environment} {_WORKLOAD_SUBJECTS.get(topic, 'has reached a threshold of workload')}"


def _facts(details: Details) -> list[str]:
    depth, limit = details.get("depth"), details.get("limit")
    found = [
        ("Run:", _text(details, "run_id")),
        ("Chain:", _text(details, "chain_id")),
        ("Depth:", "" if depth is None else f"{depth} (limit {'unknown' if limit is None else limit})"),
        ("Cycle:", _cycle(details.get("cycle"))),
        ("Path:", " → ".join(_names(details.get("path")))),
        ("Reason:", _text(details, "reason")),
    ]
    return [f"{name:<14}{value}" for name, value in found if value]


def _cycle(cycle: JsonValue) -> str:
    if not isinstance(cycle, dict):
        return ""
    names = _names(cycle.get("workflows"))
    return f"{' → '.join([*names, *names[:1]])}, {cycle.get('rounds')} times" if names else ""


def _names(value: JsonValue) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _counts(kind: NoticeKind, details: Details) -> list[str]:
    together, held_back = _number(details, "count"), _number(details, "held_back")
    lines: list[str] = []
    if together > 1:
        lines.append(f"{'Together:':<14}{_count(kind, together)} at this time; this is about the first")
    if held_back:
        lines.append(f"{'Held back:':<14}{_count(kind, held_back)} since the last notification")
    return lines


def _count(kind: NoticeKind, number: int) -> str:
    one, _, several = _WHAT[kind].partition("|")
    return f"{number:,} {one if number == 1 else several}"


def _rhythm(kind: NoticeKind, details: Details) -> str:
    every = _text(details, "every") or "1d"
    return (
        f"Of {kind.value.replace('_', ' ')} you are notified at most once in {every} and environment; what happens "
        "meanwhile is counted in the next notification."
    )


def _text(details: Details, name: str) -> str:
    value = details.get(name)
    return value if isinstance(value, str) else ""


def _number(details: Details, name: str) -> int:
    value = details.get(name)
    return value if isinstance(value, int) else 0


Commands = list[tuple[str, str]]


def _of_terminations(_: str, details: Details) -> Commands:
    run, chain = _text(details, "run_id"), _text(details, "chain_id")
    return [
        ("If it is meant to continue, let this chain go further, from where it was cut", _resume(chain, details)),
        ("If it loops by mistake, stop what is left of it", f"penstock chain stop {chain}"),
        ("See the run and its parameters", f"penstock runs show {run}"),
        ("See the whole chain", f"penstock chain show {chain}"),
    ]


def _resume(chain: str, details: Details) -> str:
    match details.get("kind"):
        case "chain_limit":
            return f"penstock chain resume {chain} --extra-runs 1000"
        case "workload_limit":
            return f"penstock chain resume {chain} --extra-workload 1000"
        case "no_progress":
            # No grant admits what makes no progress: the workflow has to be changed, and then resumed.
            return f"penstock chain resume {chain}"
        case _:
            return f"penstock chain resume {chain} --extra-depth 100"


def _of_observed(environment: str, details: Details) -> Commands:
    return [
        ("See the whole chain", f"penstock chain show {_text(details, 'chain_id')}"),
        ("Stop it", f"penstock chain stop {_text(details, 'chain_id')}"),
        ("Let the limit cut from now on", f"penstock settings set -e {environment} depth_policy=terminate"),
    ]


def _of_stops(environment: str, details: Details) -> Commands:
    chain = _text(details, "chain_id")
    return [
        ("Continue where it was cut", f"penstock chain resume {chain}"),
        ("See what there was of it", f"penstock chain show {chain}"),
        ("See who has stopped it", f"penstock audit -e {environment} --action chain.stop"),
    ]


def _of_warnings(_: str, details: Details) -> Commands:
    chain = _text(details, "chain_id")
    return [
        ("See the whole chain", f"penstock chain show {chain}"),
        ("Stop it, if it loops by mistake", f"penstock chain stop {chain}"),
        ("Let it go further, if it is meant to", f"penstock chain resume {chain} --extra-depth 100 --extra-runs 1000"),
    ]


def _of_recurrences(environment: str, details: Details) -> Commands:
    run, recurrence = _text(details, "run_id"), _text(details, "recurrence_id")
    if recurrence:
        first = [("Continue once it is repaired", f"penstock recurrences resume {recurrence}")]
        return [*first, ("See all recurrences and their ticks", f"penstock recurrences list -e {environment}")]
    first = (
        [("See why", f"penstock runs show {run}"), ("Try it again from the failed step", f"penstock runs retry {run}")]
        if run
        else []
    )
    return [*first, ("See all recurrences and their ticks", f"penstock recurrences list -e {environment}")]


def _of_dead_letters(environment: str, details: Details) -> Commands:
    run, list_them = _text(details, "run_id"), f"penstock dead-letters list -e {environment}"
    if run:
        first = [("See why", f"penstock runs show {run}"), ("Try it again", f"penstock dead-letters retry {run}")]
        return [*first, ("See all that are open", list_them)]
    return [
        ("See why, and what else is open", f"{list_them} --kind message"),
        ("See whether all else is well", "penstock doctor"),
    ]


def _of_workload(environment: str, _: Details) -> Commands:
    return [
        ("See what consumes it", f"penstock workload --environment {environment} --by workflow"),
        ("See by what", f"penstock workload --environment {environment} --by activity"),
        ("See when", f"penstock workload --environment {environment} --by hour --since 7d"),
        ("See what is under way", f"penstock runs list -e {environment} --state scheduled --state running"),
        ("End what runs away", "penstock chain stop ID"),
        ("Move the threshold", f"penstock workload thresholds --environment {environment} --allowance UNITS"),
    ]


_COMMANDS: Final[Mapping[NoticeKind, Callable[[str, Details], Commands]]] = {
    NoticeKind.TERMINATIONS: _of_terminations,
    NoticeKind.OBSERVED: _of_observed,
    NoticeKind.STOPS: _of_stops,
    NoticeKind.WARNINGS: _of_warnings,
    NoticeKind.RECURRENCES: _of_recurrences,
    NoticeKind.DEAD_LETTERS: _of_dead_letters,
    NoticeKind.WORKLOAD: _of_workload,
}
"""What helps, the most important first."""

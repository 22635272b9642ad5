"""`call: CONNECTOR`: an `http` step with the base URL, headers and rules of a connector in app.yaml."""

from ipaddress import ip_network
from typing import Final

from pydantic import JsonValue
from yarl import URL

from penstock.definitions.connectors import find_base_url_problem, find_path_problem
from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock.networks import Network
from penstock.outgoing.address_guard import PRIVATE
from penstock_executor.actions.http import DEFAULT_TIMEOUT_SECONDS, REQUEST_ARGUMENTS, perform
from penstock_executor.outside.requests import build_request
from penstock_executor.runs import Values
from penstock_executor.steps.arguments import text, wrong
from penstock_executor.steps.consumption import consumption, reported
from penstock_executor.steps.outcomes import Outcome
from penstock_executor.steps.specs import Call, StepSpec


async def call_connector(call: Call) -> Outcome:
    """Return and raise what `http` does. The connector's headers win, so a step cannot change whose call it is."""
    connector = call.arguments.get("connector")
    if not isinstance(connector, dict):
        raise wrong(call, f"there is no connector {call.target!r} in app.yaml")
    own = connector.get("headers")
    request = build_request(call, _join(call, connector), own if isinstance(own, dict) else {})
    request.allowed = _networks(connector.get("allow_private"))
    seconds = connector.get("timeout")
    return await perform(call, request, float(seconds) if isinstance(seconds, int | float) else DEFAULT_TIMEOUT_SECONDS)


def _join(call: Call, connector: Values) -> URL:
    """The URL of the call, always below the base URL. Errors never repeat the base URL: it may hold secrets."""
    base, path = str(connector.get("base_url") or ""), text(call, "path") or ""
    if (problem := find_base_url_problem(base)) is not None:
        raise wrong(call, f"the base_url of connector {call.target!r} cannot be called: {problem}")
    if (problem := find_path_problem(path)) is not None:
        raise wrong(call, f"{path[:60]!r} cannot be the path of a call: {problem}")
    stem, rest = base.rstrip("/"), path.lstrip("/")
    root = URL(stem)
    url = URL(f"{stem}/{rest}" if rest else base)
    is_below = url.raw_path == root.raw_path or url.raw_path.startswith(f"{root.raw_path.rstrip('/')}/")
    if url.origin() != root.origin() or not is_below:
        raise wrong(call, f"{path[:60]!r} leads outside of the connector's base_url")
    return url


def _networks(allow_private: JsonValue) -> tuple[Network, ...]:
    if isinstance(allow_private, list):
        return tuple(ip_network(str(network).strip(), strict=False) for network in allow_private)
    return PRIVATE if allow_private is True else ()


SPEC: Final = StepSpec(
    action=StepAction.CALL,
    target="the name of a connector",
    arguments=("path", *REQUEST_ARGUMENTS),
    awaited=call_connector,
    is_apart=True,
    consumes=consumption(Activity.CALL, done=reported),
)

"""Shows what an environment exposes, in Bubble's two forms and as OpenAPI: every workflow with an api trigger, those
for admins too, and every type of the Data API with its fields. PENSTOCK_HIDE_API_DOCUMENTATION keeps that from
strangers.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from penstock.definitions.models import App
from penstock.domain.callers import Caller
from penstock_ingress.room import Room
from penstock_ingress.rules import bubble
from penstock_ingress.rules.deployed_openapi import describe_deployed
from penstock_ingress.rules.meta import describe_meta
from penstock_ingress.rules.replies import Refusal, Reply, json_reply
from penstock_ingress.rules.swagger import describe_swagger

_NO_APP = "penstock"
_NO_CACHE = {"Cache-Control": "no-cache"}


async def show_meta(room: Room, environment: str, caller: Caller) -> Reply:
    """What `/meta` answers. Raises Refusal."""
    app = await _find_app(room, environment, caller)
    document = describe_meta(app, app.name if app else _NO_APP, environment)
    app_data = document["app_data"]
    if isinstance(app_data, dict):
        app_data["use_captions_for_get"] = room.settings.data_api_keys == "display"
    return json_reply(200, document, _NO_CACHE)


async def show_swagger(room: Room, environment: str, prefix: str, caller: Caller) -> Reply:
    """What `/meta/swagger.json` answers for the paths behind `prefix`. Raises Refusal."""
    app = await _find_app(room, environment, caller)
    return json_reply(200, describe_swagger(app, app.name if app else _NO_APP, prefix), _NO_CACHE)


async def find_openapi(
    room: Room, environment: str, caller: Caller, general: Mapping[str, JsonValue]
) -> Mapping[str, JsonValue]:
    """`general`, the description of any installation's public port, and what is exposed, if the caller may see that."""
    if _is_hidden(room, caller):
        return general
    app = await _find_app(room, environment, caller)
    return describe_deployed(general, app) if app else general


def _is_hidden(room: Room, caller: Caller) -> bool:
    return room.settings.hide_api_documentation and caller.role is None


async def _find_app(room: Room, environment: str, caller: Caller) -> App | None:
    if _is_hidden(room, caller):
        raise Refusal(bubble.not_found("Not found: this application shows its API documentation to API tokens alone"))
    deployment = await room.definitions.newest(environment)
    return deployment.app if deployment.version else None

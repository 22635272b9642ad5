"""The secret with which a test signs webhooks: the one by which the app verifies them."""

from pydantic import JsonValue

from penstock.definitions.sources import Source
from penstock.expressions import compile_template
from penstock.settings import read_secrets
from penstock.webhooks.recipes import Secrets
from penstock.webhooks.sources import provider_of


def find_secret(source: Source) -> str:
    """The first of the secrets by which the app verifies what `source` sends; empty where its scheme has none.

    Raises ValueError when it is not set.
    """
    secrets: dict[str, JsonValue] = dict(read_secrets())
    for text in source.secrets:
        value = compile_template(text, source.place).evaluate({"secrets": secrets})
        if isinstance(value, str) and value:
            return value
    if provider_of(source).secrets is Secrets.NONE:
        return ""
    raise ValueError(f"no secret of the source {source.name!r} is set: give open_app(…, secrets={{…}}) what it names")

"""Steps that reach the outside. They happen at least once, each time with the same `Idempotency-Key`."""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Literal, Unpack

from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.sdk.arguments import checked
from penstock.sdk.engine import StepOptions
from penstock.sdk.steps import Steps, to_nothing
from penstock.sdk.values import Response, to_json, to_object

Recipients = str | Mapping[str, object] | Sequence[str | Mapping[str, object]]
"""Addresses as text, users and other things with an `email`, `{"name": …, "email": …}`, or a list of these."""
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class OutsideSteps(Steps):
    """`http`, `call`, `email`, … as they are in YAML."""

    @checked
    def http(
        self,
        url: str,
        *,
        method: Method = "GET",
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        form: Mapping[str, object] | None = None,
        body: str | None = None,
        errors: Literal["fail", "continue"] = "fail",
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, Response]:
        """Call a URL. Raises Transient for 429, 5xx, time-outs and failed connections, Permanent for any other status
        from 400 on.

        With `errors="continue"` every status is an answer.
        """
        arguments = _request(method, query, headers, json, form, body, errors)
        return self._ask(StepAction.HTTP, url, arguments, _response, options)

    @checked
    def call(
        self,
        connector: str,
        path: str = "",
        *,
        method: Method = "GET",
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        form: Mapping[str, object] | None = None,
        body: str | None = None,
        errors: Literal["fail", "continue"] = "fail",
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, Response]:
        """The same to a service that app.yaml describes under `connectors`; `path` is below its base URL."""
        arguments = {**_request(method, query, headers, json, form, body, errors), "path": path or None}
        return self._ask(StepAction.CALL, connector, arguments, _response, options)

    @checked
    def email(
        self,
        to: Recipients,
        *,
        subject: str,
        text: str | None = None,
        html: str | None = None,
        cc: Recipients | None = None,
        bcc: Recipients | None = None,
        reply_to: Recipients | None = None,
        headers: Mapping[str, str] | None = None,
        attachments: Sequence[object] | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, str]:
        """Send a mail; its message id. Attachments are files, such as those of `export`, or `{"name": …, "text":
        …}`.
        """
        given = {
            "subject": subject, "text": text, "html": html, "cc": cc, "bcc": bcc, "reply_to": reply_to,
            "headers": headers,
            "attachments": attachments,
        }  # fmt: skip
        return self._ask(StepAction.EMAIL, to_json(to, "email"), to_object(given, "email"), str, options)

    @checked
    def send(
        self, url: str, payload: object, *, secret: str | Sequence[str], **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, Response]:
        """Send a webhook signed by Standard Webhooks; retried for some twenty minutes unless `retries` says
        otherwise.
        """
        arguments: dict[str, JsonValue] = {"payload": to_json(payload, "send"), "secret": to_json(secret, "send")}
        return self._ask(StepAction.SEND, url, arguments, _response, options)

    @checked
    def publish(
        self, routing_key: str, body: object, **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, None]:
        """Publish a message to the events exchange, for services of one's own."""
        return self._ask(StepAction.PUBLISH, routing_key, {"body": to_json(body, "publish")}, to_nothing, options)


def _request(
    method: Method, query: Mapping[str, object] | None, headers: Mapping[str, str] | None, json: object,
    form: Mapping[str, object] | None, body: str | None, errors: str,
) -> dict[str, JsonValue]:  # fmt: skip
    return {
        "method": method,
        "query": None if query is None else to_object(query, "query"),
        "headers": None if headers is None else to_object(headers, "headers"),
        "json": to_json(json, "json"),
        "form": None if form is None else to_object(form, "form"),
        "body": body,
        "errors": errors,
    }


def _response(result: JsonValue) -> Response:
    answer = result if isinstance(result, dict) else {}
    status, headers = answer.get("status"), answer.get("headers")
    shown = {name: str(value) for name, value in headers.items()} if isinstance(headers, dict) else {}
    file = answer.get("body_file")
    kept = file if isinstance(file, dict) else None
    return Response(status if isinstance(status, int) else 0, shown, answer.get("body"), kept)

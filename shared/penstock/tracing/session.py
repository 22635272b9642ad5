"""What a collector answers is read with limits: it may send without end, or a byte a minute."""

import io
import time
from typing import Any, Final

import requests

MAX_ANSWER_BYTES: Final = 65_536
_DEFAULT_SECONDS: Final = 10.0


class BoundedSession(requests.Session):
    """A session of `requests` that follows no redirects, and reads short answers within the time of their request."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """See `requests`. Raises its ConnectionError for an answer that is too long or too slow, TooManyRedirects."""
        seconds = kwargs.get("timeout")
        until = time.monotonic() + (seconds if isinstance(seconds, int | float) else _DEFAULT_SECONDS)
        response = super().send(request, **{**kwargs, "stream": True, "allow_redirects": False})
        try:
            if response.is_redirect:  # the exporter would take it for a success
                raise requests.exceptions.TooManyRedirects("the collector redirects; name the address that it names")
            body = _read(response, until)
        except BaseException:
            response.close()
            raise
        answer = requests.Response()
        answer.status_code, answer.reason, answer.url = response.status_code, response.reason, response.url
        answer.headers, answer.request, answer.raw = response.headers, response.request, io.BytesIO(body)
        return answer


def _read(response: requests.Response, until: float) -> bytes:
    """By single bytes: a larger piece is waited for until it is whole. Collectors answer with a few bytes."""
    body = bytearray()
    for piece in response.iter_content(1):
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise requests.exceptions.ConnectionError("the collector's answer is too long")
        if time.monotonic() > until:
            raise requests.exceptions.ConnectionError("the collector's answer takes too long")
    return bytes(body)

"""The way over HTTP: which port of the ingress a URL names is found out once, by the first call."""

from penstock.client.calls import Call, Calls
from penstock.client.management import ManagementPort
from penstock.client.port import Port
from penstock.client.public import PublicPort
from penstock.client.retries import Deadline


class HttpWay:
    """See the way. Only the admin port answers `GET /healthz`."""

    def __init__(self, url: str, token: str | None, environment: str) -> None:
        self._calls = Calls(url, token)
        self._environment = environment
        self._port: Port | None = None

    async def open(self, deadline: Deadline) -> Port:
        """See the way."""
        if self._port is None:
            answer = await self._calls.send(Call("GET", "/healthz"), deadline)
            made = ManagementPort if answer.status == 200 else PublicPort
            self._port = made(self._calls, self._environment)
        return self._port

    async def close(self) -> None:
        """See the way."""
        await self._calls.close()

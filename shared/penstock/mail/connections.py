"""Connections to a mail server, used for several mails one after another: connecting, TLS and the login take longer
than a mail itself.

A connection is kept for a few seconds after a mail that was taken. Before it is used again the server is asked whether
it is still there (`RSET`), so that one that was closed meanwhile costs nothing but a new connection.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import aiosmtplib

from penstock.mail.settings import MailServer

KEEP_SECONDS: Final = 10.0
MAX_MAILS: Final = 50
"""Over one connection: servers close, or slow down, those that never end."""
_CONNECT_SECONDS: Final = 20.0
_COMMAND_SECONDS: Final = 30.0
_CHECK_SECONDS: Final = 5.0
_FAREWELL_SECONDS: Final = 2.0
_LOST: Final = (aiosmtplib.SMTPException, OSError)


@dataclass(slots=True, eq=False)
class Line:
    """A connection, and how many mails it has carried."""

    client: aiosmtplib.SMTP
    mails: int = 0


class Connections:
    """The connections to one server, at most `most_idle` of them unused."""

    def __init__(self, server: MailServer, *, most_idle: int) -> None:
        self._server = server
        self._most_idle = most_idle
        self._idle: dict[Line, asyncio.TimerHandle] = {}

    async def take(self) -> Line:
        """A connection that works: one that is kept, or a new one. Raises what connecting raises."""
        while self._idle:
            line, timer = self._idle.popitem()
            timer.cancel()
            if await self._is_alive(line):
                return line
        client = aiosmtplib.SMTP(
            hostname=self._server.host,
            port=self._server.port,
            username=self._server.username,
            password=self._server.password,
            use_tls=self._server.is_tls,
            start_tls=self._server.is_starttls,
            timeout=_COMMAND_SECONDS,
        )
        try:
            await client.connect(timeout=_CONNECT_SECONDS)
            await client.ehlo()
        except BaseException:
            client.close()
            raise
        return Line(client)

    async def give_back(self, line: Line) -> None:
        """The mail was taken: keep the connection for the next one, or end it politely."""
        line.mails += 1
        if line.client.is_connected and line.mails < MAX_MAILS and len(self._idle) < self._most_idle:
            self._idle[line] = asyncio.get_running_loop().call_later(KEEP_SECONDS, self._drop, line)
            return
        with suppress(*_LOST):
            await line.client.quit(timeout=_FAREWELL_SECONDS)
        line.client.close()

    def close(self) -> None:
        """Close those that are kept."""
        for line, timer in self._idle.items():
            timer.cancel()
            line.client.close()
        self._idle.clear()

    async def _is_alive(self, line: Line) -> bool:
        try:
            await line.client.rset(timeout=_CHECK_SECONDS)
        except BaseException as error:
            line.client.close()
            if isinstance(error, _LOST):
                return False
            raise
        return True

    def _drop(self, line: Line) -> None:
        self._idle.pop(line, None)
        line.client.close()

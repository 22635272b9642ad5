"""A server outside that notes when each call of a run begins and ends: the ledger by which limits are judged."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Ledger:
    """Calls by key. `most` is how many of a key there were at once; `order` the numbers in which they began."""

    url: str = ""
    seconds: float = 0.0
    now: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    most: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    order: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    began: list[float] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        """Note a call with `key` and `number` in its query, for as long as the test lets it last."""
        key, number = request.query["key"], int(request.query.get("number", 0))
        self.now[key] += 1
        self.most[key] = max(self.most[key], self.now[key])
        self.order[key].append(number)
        self.began.append(asyncio.get_running_loop().time())
        try:
            await self.open.wait()
            await asyncio.sleep(self.seconds)
        finally:
            self.now[key] -= 1
        return web.json_response({})

    @property
    def calls(self) -> int:
        """How many there were."""
        return len(self.began)

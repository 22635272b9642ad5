"""Listening for HTTP: connections with deadlines, readers of bodies in bounds, and answers to what is not HTTP.

`listening` opens a port. `connections` owns what happens on one connection before and beside a request: the deadline of
the head, answers that nobody takes, malformed requests. `readers` bounds the requests whose body is still on its way,
so that senders who are slow wait for nobody but themselves. `responses` makes the answers that the server itself gives.
`event_stream` sends server-sent events for as long as their caller stays.
"""

from penstock.http_server.connections import readers_of, take_body
from penstock.http_server.event_stream import EVENT_STREAM, Events, EventStreams, Pace, ServerEvent, TooManyStreams
from penstock.http_server.listening import send_continue, serving, serving_handler
from penstock.http_server.readers import LARGE_BYTES
from penstock.http_server.responses import BareResponse, BareStream, WholeResponse, head_of

__all__ = [
    "EVENT_STREAM",
    "LARGE_BYTES",
    "BareResponse",
    "BareStream",
    "EventStreams",
    "Events",
    "Pace",
    "ServerEvent",
    "TooManyStreams",
    "WholeResponse",
    "head_of",
    "readers_of",
    "send_continue",
    "serving",
    "serving_handler",
    "take_body",
]

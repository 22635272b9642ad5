"""The one skeleton of the three services: a process's life, its probes, its loops, and the order in which a service
begins and ends.
"""

from penstock.runtime.loops import Counts, Loop, repeat
from penstock.runtime.probes import Probed, add_probes
from penstock.runtime.processes import start_worker
from penstock.runtime.pulse import Pulse
from penstock.runtime.service import Consumer, Edges, Resources, Serve, Subscription, run_service
from penstock.runtime.shutdown import Stop, pause, run_process, supervise, unless_stopped
from penstock.runtime.starting import start_service

__all__ = [
    "Consumer",
    "Counts",
    "Edges",
    "Loop",
    "Probed",
    "Pulse",
    "Resources",
    "Serve",
    "Stop",
    "Subscription",
    "add_probes",
    "pause",
    "repeat",
    "run_process",
    "run_service",
    "start_service",
    "start_worker",
    "supervise",
    "unless_stopped",
]

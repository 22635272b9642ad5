"""One service in several processes, which to the outside is one: `penstock executor --processes N`.

*Model.* The parent opens neither database nor broker. It starts N workers, each of which is the whole service with
slots, leases and connections of its own, but without an admin port. The parent has the port, and answers it by what it
asks the workers over a pair of sockets each: the service is alive while every worker is, ready while every worker is,
and its metrics are theirs, which the label `worker` distinguishes. (Sums would fall when a worker is replaced, and a
rate over them would count everything once more.)

*How it ends.* Signals go to the parent; workers have sessions of their own, so that Ctrl-C does not reach them. A soft
stop is passed on to all of them, each drains within the grace period by itself, and the parent leaves after the last.
A second signal is passed on as a hard stop. SIGTERM to one worker drains that one, and another takes its place.

*What dies when.* A worker that dies is replaced; its runs are taken up again as those of any dead executor, when their
leases expire. One that ends before it was ready for the first time ends the service, once the others have drained: with
its error, since another would meet the same. When the parent dies, its ends of the sockets close: workers stop at once,
give back what they hold, and one that is too busy to notice is ended by a thread.
"""

from penstock.runtime.processes.parent import serve_workers
from penstock.runtime.processes.worker import start_worker

__all__ = ["serve_workers", "start_worker"]

"""The main function of every service: in this process, or in several."""

from functools import partial

from penstock.logs import configure_logs
from penstock.runtime.processes import serve_workers
from penstock.runtime.service import Serve, Settings
from penstock.runtime.shutdown import CLEANUP_SECONDS, bounded, run_process


def start_service(name: str, serve: Serve[Settings], settings: Settings) -> None:
    """The whole of a service's main function.

    With several processes, the package of `serve` has a module `worker`, whose main function is `start_worker`. Raises
    ConfigurationError for what a person has to change first.
    """
    configure_logs(settings.log_format, settings.log_level)
    grace_seconds = settings.shutdown_grace_seconds
    if settings.processes == 1:
        on_signal = bounded(name, grace_seconds)
        run_process(name, partial(serve, settings), grace_seconds=grace_seconds, on_signal=on_signal)
        return
    module = f"{serve.__module__.rpartition('.')[0]}.worker"
    # Workers keep the grace period by themselves, and have cleaned up when this ends what is left.
    run_process(name, partial(serve_workers, settings, module), grace_seconds=grace_seconds + CLEANUP_SECONDS)

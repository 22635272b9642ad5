"""Runs one ingress: `python -m penstock_ingress`."""

from functools import partial

from penstock.logs import configure_logs
from penstock.runtime import run_process
from penstock.settings import read_settings
from penstock_ingress.app import serve
from penstock_ingress.settings import IngressSettings

if __name__ == "__main__":
    settings = read_settings(IngressSettings)
    configure_logs(settings.log_format, settings.log_level)
    run_process("ingress", partial(serve, settings), grace_seconds=settings.shutdown_grace_seconds)

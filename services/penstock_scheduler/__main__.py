"""Runs one scheduler: `python -m penstock_scheduler`."""

from penstock.runtime import start_service
from penstock.settings import read_settings
from penstock_scheduler.app import serve
from penstock_scheduler.settings import SchedulerSettings

if __name__ == "__main__":
    start_service("scheduler", serve, read_settings(SchedulerSettings))

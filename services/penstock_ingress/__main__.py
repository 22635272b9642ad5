"""Runs one ingress: `python -m penstock_ingress`."""

from penstock.runtime import start_service
from penstock.settings import read_settings
from penstock_ingress.app import serve
from penstock_ingress.settings import IngressSettings

if __name__ == "__main__":
    start_service("ingress", serve, read_settings(IngressSettings))

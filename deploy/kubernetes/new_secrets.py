"""Prints the Secrets that an installation needs, with new random passwords, for `kubectl apply`:

    python3 deploy/kubernetes/new_secrets.py | kubectl apply --namespace penstock -f -

Needs nothing but Python. Printed once and kept nowhere else: who runs it again makes new passwords, and then everything
has to be provisioned and started again. In a GitOps repository, seal what it prints, or let your vault write Secrets of
the same names and keys.

    penstock-owner       username password database-url            owns the database: migrates, deploys apps
    penstock-ingress     username password database-url amqp-url   and the same for -scheduler and -executor
    penstock-rabbitmq    username password management-url          the broker's administrator, in single-node alone
    penstock-keys        secret-key admin-token
    penstock-smtp        smtp-url                                  yours, optional: without it no mail is sent
"""

import argparse
import base64
import json
import secrets
import sys
from collections.abc import Iterator, Sequence

SERVICES = ("ingress", "scheduler", "executor")


def build(*, database: str, broker: str, management: str) -> Iterator[dict[str, object]]:
    """The Secrets, for a database at `host:port/name`, a broker at `host:port/vhost`, its management at `host:port`."""
    owner = _password()
    yield _secret(
        "penstock-owner",
        username="penstock",
        password=owner,
        **{"database-url": f"postgresql://penstock:{owner}@{database}"},
    )
    for service in SERVICES:
        user, password = f"penstock_{service}", _password()
        yield _secret(
            f"penstock-{service}",
            username=user,
            password=password,
            **{
                "database-url": f"postgresql://{user}:{password}@{database}",
                "amqp-url": f"amqp://{user}:{password}@{broker}",
            },
        )
    administrator = _password()
    yield _secret(
        "penstock-rabbitmq",
        username="penstock",
        password=administrator,
        **{"management-url": f"http://penstock:{administrator}@{management}"},
    )
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    yield _secret("penstock-keys", **{"secret-key": key, "admin-token": secrets.token_hex(32)})


def _password() -> str:
    return secrets.token_hex(32)  # nothing in it has to be quoted in a URL


def _secret(name: str, **values: str) -> dict[str, object]:
    is_login = {"username", "password"} <= values.keys()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            # Without the second, RabbitMQ's topology operator does not read it.
            "labels": {"app.kubernetes.io/name": "penstock", "rabbitmq.com/topology-operator": "true"},
        },
        "type": "kubernetes.io/basic-auth" if is_login else "Opaque",
        "stringData": values,
    }


def main(arguments: Sequence[str]) -> None:
    """Print one List in JSON, which kubectl reads as it does YAML."""
    parser = argparse.ArgumentParser(description="Prints the Secrets of an installation, with new random passwords.")
    parser.add_argument("--database", default="penstock-postgres-rw:5432/penstock", metavar="HOST:PORT/NAME")
    parser.add_argument("--broker", default="penstock-rabbitmq:5672/", metavar="HOST:PORT/VHOST")
    parser.add_argument("--management", default="penstock-rabbitmq:15672", metavar="HOST:PORT")
    given = parser.parse_args(arguments)
    items = list(build(database=given.database, broker=given.broker, management=given.management))
    json.dump({"apiVersion": "v1", "kind": "List", "items": items}, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The secrets of an environment, as code reads them."""

from collections.abc import Iterator, Mapping

from penstock.store.secrets import Secrets


class UsedSecrets(Mapping[str, str]):
    """The secrets by name. Which were read is noted, so that they are kept out of what is stored."""

    def __init__(self, secrets: Secrets, environment: str) -> None:
        self._secrets = secrets
        self._environment = environment
        self._used: set[str] = set()

    @property
    def used(self) -> frozenset[str]:
        """The names of those that were read."""
        return frozenset(self._used)

    def __getitem__(self, name: str) -> str:
        """Raises Permanent when it is not set."""
        self._used.add(name)
        return str(self._secrets.require(self._environment, [name])[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._secrets.values(self._environment))

    def __len__(self) -> int:
        return len(self._secrets.values(self._environment))

"""The table of providers. Where a row departs from what the provider's own page says, or that page is silent, a comment
says why. Tolerances are five minutes unless the provider's page or its own library says otherwise.
"""

from collections.abc import Mapping
from typing import Final

from penstock.webhooks.provider_table.fetched_keys import FETCHED
from penstock.webhooks.provider_table.generic import GENERIC
from penstock.webhooks.provider_table.shared_secrets import SHARED
from penstock.webhooks.recipes import Provider

PROVIDERS: Final[Mapping[str, Provider]] = {**SHARED, **FETCHED, **GENERIC}
"""By scheme."""

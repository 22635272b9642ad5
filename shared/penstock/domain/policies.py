"""The limits and policies of an environment that may be changed while everything runs."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pydantic.json_schema import SkipJsonSchema

from penstock.domain.addresses import parse_address
from penstock.domain.depth import MAX_DEPTH

MAX_CHAIN_RUNS: Final = 10**12
MAX_UNITS: Final = 1e15
_MAX_ADDRESSES: Final = 50


def _is_address(value: str) -> str:
    """Raises ValueError that says what is wrong with the address."""
    parse_address(value)
    return value


Address = Annotated[str, StringConstraints(max_length=254), AfterValidator(_is_address)]
_Units = Annotated[float, Field(ge=0, le=MAX_UNITS)]


class SettingsChange(BaseModel):
    """Settings of an environment that are to change; those left out stay as they are, and none of them is ever null."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    LISTS: ClassVar = frozenset({"notification_addresses"})
    """Settings that are lists of texts."""

    depth_limit: Annotated[int, Field(ge=0, le=MAX_DEPTH)] | SkipJsonSchema[None] = Field(
        default=None, description="Deepest run that is admitted"
    )
    chain_runs_limit: Annotated[int, Field(ge=1, le=MAX_CHAIN_RUNS)] | SkipJsonSchema[None] = Field(
        default=None, description="Most runs of one chain"
    )
    depth_policy: Literal["terminate", "observe"] | SkipJsonSchema[None] = Field(
        default=None, description="What is done about runs that are too deep; `observe` only records them"
    )
    chain_workload_limit: _Units | SkipJsonSchema[None] = Field(
        default=None, description="Most workload units that one chain may consume; 0: none"
    )
    notification_addresses: Annotated[list[Address], Field(max_length=_MAX_ADDRESSES)] | SkipJsonSchema[None] = Field(
        default=None, description="Who is notified when a run is terminated, at most once a day"
    )
    workload_allowance: _Units | SkipJsonSchema[None] = Field(
        default=None, description="Workload units per calendar month; 0: none"
    )
    workload_spike_factor: _Units | SkipJsonSchema[None] = Field(
        default=None, description="How often the median hour of a week makes a spike; 0: nothing does"
    )
    workload_spike_minimum: _Units | SkipJsonSchema[None] = Field(
        default=None, description="Units below which no hour is a spike"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_given(cls, value: object) -> object:
        if value is None:
            raise ValueError("null is not a value; leave out what is to stay as it is")
        return value

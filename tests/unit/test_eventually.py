"""The one way in which tests wait."""

import pytest

from tests.eventually import eventually


async def test_it_returns_the_first_true_result_of_a_plain_or_async_check() -> None:
    results = iter([0, [], False, "found"])
    assert await eventually(lambda: next(results), every=0) == "found"

    async def check() -> int:
        return 7

    assert await eventually(check) == 7


async def test_a_failed_assertion_means_not_yet() -> None:
    counts = iter(range(4))

    def check() -> None:
        assert next(counts) == 3

    await eventually(check, every=0)
    assert list(counts) == []


async def test_when_time_is_up_it_says_what_was_still_wrong() -> None:
    with pytest.raises(AssertionError, match=r"still not so after 0 s: it returned 0"):
        await eventually(lambda: 0, within=0)

    def check() -> None:
        raise AssertionError("three runs are open")

    with pytest.raises(AssertionError, match="three runs are open"):
        await eventually(check, within=0)


async def test_any_other_error_ends_the_wait_at_once() -> None:
    def check() -> bool:
        raise KeyError("run")

    with pytest.raises(KeyError):
        await eventually(check)

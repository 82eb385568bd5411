from __future__ import annotations

import pytest

from harness.camera.bench import search


def level(sessions: int, reached: bool, **more: object) -> dict[str, object]:
    usual = {"cpu_share": 1.0, "disturbed": False, "cpu_us_per_frame": 10.0}
    return {"sessions": sessions, "reached": reached, **usual, **more}


@pytest.mark.parametrize(
    ("capacity", "limit", "more", "tried"),
    [
        (1000, 6400, {"cpu_share": 0.99}, [1000, 1250]),
        (1000, 6400, {"cpu_share": 0.5}, [1000, 1250, 1250]),  # not the server's limit: again
        (1000, 6400, {"disturbed": True}, [1000, 1250, 1250]),
        (9999, 6400, {"cpu_share": 0.5}, [1000, 1250, 1562]),  # enough: the limit is above
        (700, 6400, {}, [1000, 800, 640]),
        (100, 6400, {}, [1000, 800, 640]),  # enough: nothing reached
        (9999, 900, {}, [900]),
    ],
)
def test_search(capacity: int, limit: int, more: dict[str, object], tried: list[int]) -> None:
    def measure(count: int) -> dict[str, object]:
        return level(count, count <= capacity, **more)

    assert [one["sessions"] for one in search.search(measure, 1000, limit)] == tried


def test_search_ends_when_the_time_is_over() -> None:
    assert len(search.search(lambda count: level(count, True), 1000, 6400, until_s=0.0)) == 1


def test_summary_says_whether_the_limit_was_found() -> None:
    missed = search.summary([level(500, True), level(1000, True), level(1250, False)])
    assert (missed["sessions"], missed["limit_found"], missed["cpu_us_per_frame"]) == (
        *(1000, True),
        10.0,
    )
    assert not missed["limit_disturbed"]
    assert not search.summary([level(500, True), level(1000, True)])["limit_found"]
    nothing = search.summary([level(500, False, disturbed=True)])
    assert (nothing["sessions"], nothing["limit_found"], nothing["cpu_us_per_frame"]) == (
        *(0, True),
        None,
    )
    assert nothing["limit_disturbed"]


def test_ratios() -> None:
    peers = {"one": {"sessions": 300}, "none": {"sessions": 0}, "missing": {}}
    assert search.ratios(1000, peers) == {"one": 3.33, "none": None, "missing": None}
    assert search.ratios(0, peers)["one"] is None

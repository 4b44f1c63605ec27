from __future__ import annotations

import shutil

import pytest

from benchmarks import nodes


def test_one_node_of_each_way_is_counted_at_real_servers() -> None:
    cost = nodes.fetching(files=6, commits=3, rounds=1)
    assert all(cost[arm]["git_requests"] > 0 for arm in ("clone", "each", "publishing"))
    assert cost["mirror"]["git_requests"] == cost["mirror"]["git_bytes"] == 0
    assert cost["mirror"]["mirror_bytes"] > 0
    assert all(each["cpu_s"] > 0 for each in cost.values())


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_calls_into_a_shared_folder_grow_with_the_modules() -> None:
    few, more = nodes.importing(5), nodes.importing(10)
    assert more["calls"] - few["calls"] >= 5 * 2


def test_a_node_more_costs_git_nothing_where_there_is_a_mirror() -> None:
    one = dict.fromkeys(("cpu_s", "wall_s", "git_cpu_s", "git_requests", "git_bytes"), 1.0)
    one |= {"mirror_requests": 1.0, "mirror_bytes": 1e6}
    cost = dict.fromkeys(("clone", "each", "mirror", "publishing"), one)
    rows = nodes.modelled(cost, 1000)
    asked: dict[str, list[tuple[int, float]]] = {row["way"]: [] for row in rows}
    for row in rows:
        asked[row["way"]].append((row["git_requests"], row["seconds"]))
    assert [count for count, _ in asked["each"]] == list(nodes.NODES)
    assert [count for count, _ in asked["mirror"]] == [1, 1, 1]
    assert [seconds for _, seconds in asked["shared"]] == [0.5, 33.3, 333.3]
    assert "shared" not in {row["way"] for row in nodes.modelled(cost, None)}

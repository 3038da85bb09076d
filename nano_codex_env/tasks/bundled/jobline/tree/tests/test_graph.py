import pytest

from jobline import DuplicateJob, JobGraph, UnknownJob


@pytest.fixture
def graph():
    """a and b are free; c waits for both, d and e for c."""
    graph = JobGraph()
    graph.add("a")
    graph.add("b")
    graph.add("c", ["a", "b"])
    graph.add("d", ["c"])
    graph.add("e", ["c", "a"])
    return graph


def test_a_job_that_waits_for_nothing_is_free():
    graph = JobGraph()
    assert graph.add("a")
    assert not graph.add("b", ["a"])


def test_a_job_is_freed_by_the_last_that_it_waits_for(graph):
    assert graph.finish("a") == []
    assert graph.finish("b") == ["c"]
    assert graph.finish("c") == ["d", "e"]
    assert graph.finish("e") == graph.finish("d") == []
    assert len(graph) == 0


def test_one_that_is_named_twice_counts_once():
    graph = JobGraph()
    graph.add("a")
    graph.add("b", ["a", "a"])
    assert graph.finish("a") == ["b"]


def test_drop_takes_all_that_wait(graph):
    assert graph.drop("a") == ["c", "e", "d"]
    assert "b" in graph
    assert len(graph) == 1
    assert graph.finish("b") == []


def test_drop_of_a_leaf(graph):
    assert graph.drop("d") == []
    graph.finish("a")
    graph.finish("b")
    assert graph.finish("c") == ["e"]


def test_a_diamond_is_dropped_once():
    graph = JobGraph()
    graph.add("top")
    graph.add("left", ["top"])
    graph.add("right", ["top"])
    graph.add("bottom", ["left", "right"])
    assert graph.drop("top") == ["left", "right", "bottom"]


def test_an_id_is_free_again(graph):
    with pytest.raises(DuplicateJob):
        graph.add("a")
    graph.finish("a")
    assert graph.add("a")
    graph.drop("d")
    assert not graph.add("d", ["c"])
    graph.finish("b")
    assert sorted(graph.finish("c")) == ["d", "e"]


@pytest.mark.parametrize("method", ["finish", "drop"])
def test_a_job_that_is_not_here(graph, method):
    with pytest.raises(UnknownJob):
        getattr(graph, method)("x")


def test_one_can_wait_only_for_what_is_here(graph):
    with pytest.raises(UnknownJob, match="x"):
        graph.add("f", ["a", "x"])
    assert "f" not in graph
    graph.finish("b")
    assert graph.finish("a") == ["c"]

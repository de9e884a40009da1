from itertools import pairwise

import pytest

from mva.data.preference import PreferencePair, ValueData, prompt_id, user_prompt
from mva.data.prompts import check_clusters, evaluation_prompts, prompt_clusters
from mva.data.sources.base import BadRow


def pairs(texts):
    return tuple(PreferencePair(user_prompt(text), "good", "bad") for text in texts)


def value(validation, *, train=("trained on",), test=("held out",), name="helpful"):
    return ValueData(name, pairs(train), pairs(validation), pairs(test))


def texts(prompts):
    return [prompt[-1].content for prompt in prompts]


A = [f"a{n}" for n in range(10)]
B = [f"b{n}" for n in range(10)]


def test_each_prompt_comes_once():
    data = {"one": value([*A, *A]), "two": value([*A[5:], *B])}
    prompts = evaluation_prompts(data, "validation")
    assert sorted(texts(prompts)) == sorted({*A, *B})


def test_the_values_take_turns():
    prompts = texts(evaluation_prompts({"one": value(A), "two": value(B)}, "validation"))
    assert [text[0] for text in prompts] == ["a", "b"] * 10


def test_a_value_that_has_run_out_leaves_the_rest_to_the_others():
    prompts = texts(evaluation_prompts({"one": value(A[:2]), "two": value(B)}, "validation"))
    assert "".join(text[0] for text in prompts) == "abab" + 8 * "b"


def test_within_a_value_the_order_is_that_of_the_hashes():
    prompts = evaluation_prompts({"one": value(A)}, "validation")
    assert all(prompt_id(first) < prompt_id(second) for first, second in pairwise(prompts))


def test_the_order_of_the_file_does_not_matter():
    forwards, backwards = ({"one": value(order), "two": value(B)} for order in (A, A[::-1]))
    assert evaluation_prompts(forwards, "validation") == evaluation_prompts(backwards, "validation")


@pytest.mark.parametrize("limit", [1, 4, 20, 100])
def test_a_limit_keeps_the_beginning(limit):
    data = {"one": value(A), "two": value(B)}
    assert evaluation_prompts(data, "validation", limit) == evaluation_prompts(data, "validation")[:limit]


def test_what_any_value_trains_on_is_left_out():
    data = {"one": value(A), "two": value(B, train=A[:4])}
    assert sorted(texts(evaluation_prompts(data, "validation"))) == sorted(A[4:] + B)


def test_the_split_asked_for_is_the_one_that_is_given():
    data = {"one": value(A, test=B)}
    assert set(texts(evaluation_prompts(data, "test"))) == set(B)


def clustered(labels, name="helpful"):
    pairs = tuple(PreferencePair(user_prompt(text), "good", "bad", cluster=label) for text, label in labels)
    return ValueData(name, (), pairs, ())


def test_clusters_are_labels_by_prompt_and_absent_ones_leave_nothing():
    data = {"one": clustered([("a", "x"), ("a", "x"), ("b", "y")]), "two": clustered([("c", "x")])}
    labels = {prompt_id(user_prompt(text)): label for text, label in zip("abc", "xyx", strict=True)}
    assert prompt_clusters(data, "validation") == labels
    assert prompt_clusters({"one": value(A)}, "validation") == {}
    check_clusters(data, "validation")
    check_clusters({"one": value(A)}, "validation")


def test_a_prompt_in_two_clusters_is_refused():
    data = {"one": clustered([("a", "x")]), "two": clustered([("a", "y")], "harmless")}
    with pytest.raises(BadRow, match="cluster 'y' here and in 'x' elsewhere"):
        prompt_clusters(data, "validation")


def test_a_single_cluster_is_refused():
    with pytest.raises(ValueError, match=r"All validation prompts are of the cluster 'x'.*evaluation.cluster"):
        check_clusters({"one": clustered([("a", "x"), ("b", "x")])}, "validation")

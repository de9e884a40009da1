"""Which vector is trained when, on whose pairs, and which vectors it sees."""

import pytest

from mva.models.value_vector import ValueVector
from mva.training.orthogonal_complement import OrthogonalComplement
from mva.training.plan import Chained, Independent, Joint, LossWeighting, MarginWeighting, Orthogonal, Sequential
from mva.training.task import Task

PLANS = [
    Sequential(),
    Independent(),
    Orthogonal(OrthogonalComplement()),
    Chained(),
    LossWeighting(divisions=2),
    MarginWeighting(divisions=3),
    MarginWeighting(divisions=3, margin="reward"),
    Joint(),
]


def tasks_of(plan, values):
    class Fit:
        def __init__(self):
            self.tasks = []

        def __call__(self, task):
            self.tasks.append(task)
            return ValueVector(task.name, {}, base="b", key=task.name)

        def together(self, values):
            return [self(Task(value)) for value in values]

        def margin(self, value):
            return f"reward of {value}"

    fit = Fit()
    return plan.train(values, fit), fit.tasks


def names(vectors):
    return [vector.value for vector in vectors]


@pytest.mark.parametrize("plan", PLANS, ids=repr)
@pytest.mark.parametrize("values", [["only"], ["c", "a"], ["c", "a", "b"]])
def test_a_plan_trains_what_it_names(plan, values):
    vectors, _ = tasks_of(plan, values)
    assert tuple(names(vectors)) == plan.names(values)
    assert len(set(names(vectors))) == len(vectors)


@pytest.mark.parametrize("plan", PLANS, ids=repr)
def test_preference_weights_and_margins_sum_to_one(plan):
    for task in tasks_of(plan, ["c", "a", "b"])[1]:
        assert sum(task.weights.values()) == pytest.approx(1)
        assert 0 < task.margin_weight <= 1


def test_sequential_training_sees_all_earlier_vectors_in_order():
    _, tasks = tasks_of(Sequential(), ["c", "a", "b"])
    assert [(task.name, names(task.earlier)) for task in tasks] == [("c", []), ("a", ["c"]), ("b", ["c", "a"])]
    assert all(task.constraint is None for task in tasks)


def test_independent_training_sees_none():
    _, tasks = tasks_of(Independent(), ["c", "a", "b"])
    assert [(task.name, names(task.earlier)) for task in tasks] == [("c", []), ("a", []), ("b", [])]


def test_orthogonal_training_binds_all_but_the_first_vector():
    constraint = OrthogonalComplement()
    _, tasks = tasks_of(Orthogonal(constraint), ["c", "a", "b"])
    assert [names(task.earlier) for task in tasks] == [[], ["c"], ["c", "a"]]
    assert [task.constraint for task in tasks] == [None, constraint, constraint]


def test_chained_training_goes_on_with_one_adapter():
    _, tasks = tasks_of(Chained(), ["c", "a", "b"])
    assert [task.name for task in tasks] == ["c", "c_then_a", "c_then_a_then_b"]
    assert [dict(task.weights) for task in tasks] == [{"c": 1.0}, {"a": 1.0}, {"b": 1.0}]
    assert [task.start and task.start.value for task in tasks] == [None, "c", "c_then_a"]


def test_loss_weighting_trains_one_vector_for_each_weight_of_the_lattice():
    _, tasks = tasks_of(LossWeighting(divisions=4), ["a", "b"])
    assert [dict(task.weights) for task in tasks] == [
        {"a": 1.0}, {"a": 0.75, "b": 0.25}, {"a": 0.5, "b": 0.5}, {"a": 0.25, "b": 0.75}, {"b": 1.0},
    ]  # fmt: skip
    assert [task.name for task in tasks] == ["a", "a_75-b_25", "a_50-b_50", "a_25-b_75", "b"]


def test_names_can_be_folders_and_module_names():
    assert all("." not in name and "/" not in name for name in LossWeighting(divisions=3).names(["a", "b", "c"]))


def test_modpo_trains_the_heavier_value_with_the_rewards_of_the_others_as_margin():
    vectors, tasks = tasks_of(MarginWeighting(divisions=4), ["a", "b"])
    assert [task.name for task in tasks] == ["a", "b", "a_75-b_25", "a_50-b_50", "a_25-b_75"]
    assert [dict(task.weights) for task in tasks[2:]] == [{"a": 1.0}, {"a": 1.0}, {"b": 1.0}]
    assert [[(v.value, w) for v, w in task.margins] for task in tasks[2:]] == [
        [("b", 0.25)],
        [("b", 0.5)],
        [("a", 0.25)],
    ]
    assert [task.margin_weight for task in tasks[2:]] == [0.75, 0.5, 0.75]
    assert names(vectors) == ["a", "a_75-b_25", "a_50-b_50", "a_25-b_75", "b"]


def test_modpo_takes_rewards_for_margins_where_it_is_told_to():
    _, tasks = tasks_of(MarginWeighting(divisions=2, margin="reward"), ["a", "b"])
    assert [task.margins for task in tasks] == [(), (), (("reward of b", 0.5),)]


def test_a_margin_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"^margin is 'explicit': choose implicit or reward"):
        MarginWeighting(margin="explicit")


@pytest.mark.parametrize("plan", [LossWeighting, MarginWeighting])
def test_a_lattice_without_steps_is_refused(plan):
    with pytest.raises(ValueError, match="divisions is 0"):
        plan(divisions=0)


@pytest.mark.parametrize("plan", [LossWeighting, MarginWeighting])
def test_more_vectors_than_anybody_trains_are_refused_before_they_are_counted_out(plan):
    with pytest.raises(ValueError, match="divisions is 1000, which makes 42084793751 vectors"):
        plan(divisions=1000).names(["a", "b", "c", "d", "e"])

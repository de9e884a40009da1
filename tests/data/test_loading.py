import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mva.data.checks import EmptyData
from mva.data.formats import GradedResponses, PairColumns
from mva.data.loading import DataSettings, ValueSource, load_value
from mva.data.preference import prompt_id
from mva.data.sources.base import BadRow, Row
from mva.data.sources.local_files import LocalFiles
from mva.data.tokenization import TokenLimits

SHARED = Path(os.environ.get("MVA_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no folder MVA_SHARED_DATA")
LIMITS = TokenLimits(prompt=8, response=8)


@dataclass(frozen=True)
class Listed:
    """Rows that a test writes down."""

    content: Sequence[dict | BadRow]

    def rows(self):
        for number, fields in enumerate(self.content, start=1):
            yield fields if isinstance(fields, BadRow) else Row(f"rows:{number}", fields)


def row(prompt, chosen="good", rejected="bad", **more):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def many(n, **more):
    return [row(f"question {number}", **more) for number in range(n)]


def source(rows, **options):
    return ValueSource(Listed(rows), PairColumns(), **options)


def load(rows, *, on_bad_row="error", max_train_pairs=None, cluster=None, **options):
    options = {"validation_fraction": 0.2, "test_fraction": 0.3} | options
    return load_value(
        "helpful",
        source(rows, **options),
        on_bad_row=on_bad_row,
        max_train_pairs=max_train_pairs,
        cluster=cluster,
    )


def texts(pairs):
    return [pair.prompt[-1].content for pair in pairs]


def place(text):
    """The prompt's place in [0, 1), by the definition and not by the code."""
    digest = hashlib.sha256(json.dumps([["user", text]]).encode()).hexdigest()
    return int(digest[:16], 16) / 2**64


def test_a_prompt_s_split_is_a_function_of_its_hash_alone():
    data, _ = load(many(400))
    assert all(place(text) < 0.3 for text in texts(data.test))
    assert all(0.3 <= place(text) < 0.5 for text in texts(data.validation))
    assert all(place(text) >= 0.5 for text in texts(data.train))
    assert len(data.train) + len(data.validation) + len(data.test) == 400


def test_the_fractions_are_kept_to_within_four_standard_deviations():
    n = 2000
    data, _ = load(many(n))
    for pairs, fraction in ((data.validation, 0.2), (data.test, 0.3)):
        assert abs(len(pairs) / n - fraction) < 4 * math.sqrt(fraction * (1 - fraction) / n)


def test_a_prompt_lands_in_the_same_split_whichever_value_it_belongs_to():
    one, _ = load(many(200))
    other, _ = load([row(f"question {n}", "other", "words") for n in reversed(range(100, 300))])
    for (_, pairs), (split, others) in zip(one.splits(), other.splits(), strict=True):
        shared = {f"question {n}" for n in range(100, 200)}
        assert set(texts(pairs)) & shared == set(texts(others)) & shared, split


def test_all_pairs_of_a_prompt_stay_together():
    data, _ = load([row(f"question {n % 40}", f"good {n}") for n in range(400)])
    assert all(len(pairs) % 10 == 0 for _, pairs in data.splits())


def test_pairs_keep_the_order_of_their_rows():
    data, _ = load(many(100))
    for _, pairs in data.splits():
        lines = [int(pair.origin.removeprefix("rows:")) for pair in pairs]
        assert lines == sorted(lines)


def test_rows_may_name_their_split():
    names = ["train", "validation", "test"]
    data, _ = load([row(f"question {n}", split=names[n % 3]) for n in range(30)], split_field="split")
    for number, (_, pairs) in enumerate(data.splits()):
        assert texts(pairs) == [f"question {n}" for n in range(number, 30, 3)]


@pytest.mark.parametrize("split", ["dev", None])
def test_an_unknown_split_name_is_a_bad_row(split):
    rows = [*(row(name, split=name) for name in ("train", "validation", "test")), row("q", split=split)]
    with pytest.raises(BadRow, match=r"^rows:4: 'split' is .*expected one of train, validation, test"):
        load(rows, split_field="split")
    data, report = load(rows, split_field="split", on_bad_row="skip")
    assert [len(pairs) for _, pairs in data.splits()] == [1, 1, 1]
    assert list(report.problems.values()) == [("rows:4",)]


@pytest.mark.parametrize(("field", "meta"), [("topic", {}), ("meta.source", {"source": 7})])
def test_rows_that_are_evaluated_on_name_their_cluster(field, meta):
    data, _ = load([row(f"question {n}", topic="law", meta=meta) for n in range(60)], cluster=field)
    labels = {split: {pair.cluster for pair in pairs} for split, pairs in data.splits()}
    label = "law" if field == "topic" else "7"
    assert labels == {"train": {""}, "validation": {label}, "test": {label}}


@pytest.mark.parametrize("topic", [None, "", True, 0.5, ["law"]])
def test_a_row_without_a_usable_cluster_is_a_bad_row(topic):
    rows = [*many(30, topic="law"), row("held out", topic=topic)]
    with pytest.raises(BadRow, match=r"^rows:1: the cluster field 'topic' holds no text or number"):
        load(rows, cluster="topic", test=Listed(rows[-1:]))
    data, _ = load(rows, cluster="topic", test=Listed([*many(2, topic="art"), rows[-1]]), on_bad_row="skip")
    assert [pair.cluster for pair in data.test] == ["law"] * (len(data.test) - 2) + ["art"] * 2


def test_rows_of_the_test_source_are_held_out_whatever_their_hash():
    data, _ = load(many(50), test=Listed([row(f"held out {n}") for n in range(20)]), test_fraction=0.0)
    assert texts(data.test) == [f"held out {n}" for n in range(20)]
    assert not set(texts(data.train)) & set(texts(data.test))


def test_a_prompt_of_the_test_source_that_is_trained_on_is_reported():
    _, report = load([*many(50)], test=Listed(many(50)[:1]), test_fraction=0.0)
    assert report.problems["prompt that stands in two splits"] == ("rows:1", "rows:1")


BAD = [BadRow("rows:1", "is not JSON"), row("q", "same", "same"), {"prompt": "q"}]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (BAD[0], "^rows:1: is not JSON$"),
        (BAD[1], "^rows:1: .*identical"),
        (BAD[2], "^rows:1: .*'chosen' is missing"),
    ],
)
def test_the_first_bad_row_is_an_error_by_default(bad, message):
    with pytest.raises(BadRow, match=message):
        load([bad, *many(50)])


def test_skipped_rows_are_counted_and_the_others_are_kept():
    data, report = load([*BAD, *many(50)], on_bad_row="skip")
    assert sum(report.counts.values()) == sum(len(pairs) for _, pairs in data.splits()) == 50
    assert sorted(report.problems.values()) == [("rows:1",), ("rows:2",), ("rows:3",)]
    assert all(problem.startswith("skipped row: ") for problem in report.problems)


def test_a_row_with_one_bad_pair_gives_none_of_its_pairs():
    graded = {"helpful": 2, "text": "x"}, {"helpful": 1, "text": "y"}, {"helpful": 0, "text": " "}
    rows = [{"prompt": f"q{n}", "responses": graded[:2]} for n in range(50)]
    broken = {"prompt": "broken", "responses": graded}
    dataset = ValueSource(Listed([broken, *rows]), GradedResponses("helpful"), test_fraction=0.2)
    data, report = load_value("helpful", dataset, on_bad_row="skip")
    assert sum(report.counts.values()) == 50
    assert not any("broken" in texts(pairs) for _, pairs in data.splits())


@pytest.mark.parametrize(
    ("rows", "options", "split"),
    [
        ([], {}, "train"),
        (BAD, {"on_bad_row": "skip"}, "train"),
        (many(50), {"validation_fraction": 0.0}, "validation"),
        (many(50), {"test_fraction": 0.0}, "test"),
    ],
)
def test_a_split_that_is_left_empty_is_an_error(rows, options, split):
    skipped = len(rows) if rows is BAD else 0
    with pytest.raises(EmptyData, match=rf"'helpful' has no {split} pairs \({skipped} rows were skipped\)"):
        load(rows, **options)


def test_a_sample_does_not_depend_on_the_order_of_the_file():
    forwards, _ = load(many(300), max_train_pairs=20)
    backwards, _ = load(many(300)[::-1], max_train_pairs=20)
    assert texts(forwards.train) == texts(backwards.train)
    assert len(forwards.train) == 20
    whole, _ = load(many(300))
    assert set(texts(forwards.train)) < set(texts(whole.train))
    assert forwards.validation == whole.validation


def test_a_smaller_sample_is_a_part_of_a_larger_one():
    small, large = (load(many(300), max_train_pairs=n)[0].train for n in (10, 40))
    assert large[:10] == small


def test_a_larger_validation_split_leaves_the_rest_of_the_sample_as_it_was():
    small, large = (
        load(many(400), validation_fraction=fraction, test_fraction=0.1, max_train_pairs=30)[0].train
        for fraction in (0.1, 0.4)
    )
    kept = {text for text in texts(small) if place(text) >= 0.5}
    assert kept
    assert kept < set(texts(large))


@pytest.mark.parametrize("fractions", [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5)])
def test_fractions_that_leave_nothing_to_train_on_are_refused(fractions):
    with pytest.raises(ValueError, match=r"^(validation|test)_fraction is .*(together below 1|at least 0 and below 1)"):
        source([], validation_fraction=fractions[0], test_fraction=fractions[1])


def settings(**options):
    rows = many(100)
    other = [row(f"question {n}", "bad", "good") for n in range(100)]
    values = {name: source(content, test_fraction=0.2) for name, content in (("helpful", rows), ("brief", other))}
    return DataSettings(values, LIMITS, **options)


def test_settings_load_the_named_values_in_the_order_named():
    data, reports = settings(max_train_pairs=7).load(["brief", "helpful"])
    assert list(data) == list(reports) == ["brief", "helpful"]
    assert {len(value.train) for value in data.values()} == {7}
    assert texts(data["brief"].train) == texts(data["helpful"].train)
    assert data["brief"].train[0].chosen == data["helpful"].train[0].rejected


@pytest.mark.parametrize("names", [["helpful", "kind"], [], ["helpful", "helpful"]])
def test_settings_refuse_values_that_the_data_does_not_offer_once(names):
    with pytest.raises(ValueError, match="each once, of those that the data offers: helpful, brief"):
        settings().load(names)


@pytest.mark.parametrize("options", [{"on_bad_row": "warn"}, {"max_train_pairs": 0}, {"max_train_pairs": -1}])
def test_settings_that_would_read_another_set_are_refused(options):
    with pytest.raises(ValueError, match=f"^{next(iter(options))} is "):
        settings(**options)


@needs_shared
def test_real_values_are_split_by_prompt_and_share_no_prompt_across_splits():
    def read(name):
        train, test = (LocalFiles(str(SHARED / "truthfulqa" / f"{name}_{part}.jsonl")) for part in ("train", "test"))
        return load_value(name, ValueSource(train, PairColumns(), test, validation_fraction=0.1))

    (honest, report), (informative, _) = read("honesty"), read("informativeness")
    assert report.problems.keys() <= {"contradiction: the same pair in the opposite order"}
    ids = [{split: {prompt_id(p.prompt) for p in pairs} for split, pairs in v.splits()} for v in (honest, informative)]
    for one in ids:
        for other in ids:
            assert not one["train"] & (other["validation"] | other["test"])
            assert not one["validation"] & other["test"]
    assert len(ids[0]["train"]) + len(ids[0]["validation"]) == 550
    assert len(honest.test) == 900

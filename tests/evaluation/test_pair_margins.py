"""Margins: what they are worth by closed forms, and their file."""

import json
import math

import numpy as np
import pytest

from mva.evaluation.json_lines import DamagedLedger
from mva.evaluation.pair_margins import MARGINS, MarginLedger, Stretch, accuracy, utilities


def test_scores_are_log_sigmoids_and_never_above_0():
    margins = np.array([0.0, 10.0, -10.0, 1e6, -1e6])
    expected = [math.log(0.5), -math.log1p(math.exp(-1.0)), -math.log1p(math.exp(1.0)), 0.0, -1e5]
    assert utilities(margins, 0.1).tolist() == pytest.approx(expected)
    assert (utilities(margins, 0.1) <= 0).all()


def test_a_tie_counts_half():
    assert accuracy(np.array([2.0, -1.0, 0.0, 3.0])) == 0.625
    assert accuracy(np.zeros(3)) == 0.5


def test_what_is_added_is_read_again_by_its_key(tmp_path):
    ledger = MarginLedger(tmp_path)
    stretches = [Stretch("a", "kind", 0, ["p", "q"], [1.5, -2.0]), Stretch("a", "kind", 2, ["q"], [0.25])]
    ledger.add(stretches, split="test", beta=0.1, key="ours")
    ledger.add([Stretch("b", "kind", 0, ["p"], [1.0])], split="test", beta=0.1, key="another")
    assert list(MarginLedger(tmp_path).read("ours")) == stretches


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"margins": [1.0]}, "as many numbers as prompt_ids"),
        ({"margins": [1.0, "high"]}, "not a finite number"),
        ({"first": -1}, "first is -1"),
    ],
)
def test_a_line_of_another_shape_is_named(change, words, tmp_path):
    MarginLedger(tmp_path).add([Stretch("a", "kind", 0, ["p", "q"], [1.5, -2.0])], split="test", beta=0.1, key="k")
    line = json.loads((tmp_path / MARGINS).read_text())
    (tmp_path / MARGINS).write_text(json.dumps({**line, **change}) + "\n")
    with pytest.raises(DamagedLedger, match=words):
        list(MarginLedger(tmp_path).read("k"))

import torch

from mva.data.preference import user_prompt
from mva.rewards import scorer as module
from mva.rewards.scorer import Scored, Scorer

PROMPT = user_prompt("Hi")


class Counting:
    key = "counting"

    def __init__(self):
        self.asked = []

    def score(self, prompts, responses):
        self.asked += responses
        return torch.tensor([float(len(response)) for response in responses])


def test_only_so_many_texts_are_remembered_and_an_answer_is_right_either_way(monkeypatch):
    monkeypatch.setattr(module, "KNOWN", 3)
    counting = Counting()
    score = Scorer({"kind": counting})
    texts = [(PROMPT, "x" * k) for k in range(1, 6)]
    assert [scored.rewards["kind"] for scored in score([*texts, *texts])] == [1.0, 2.0, 3.0, 4.0, 5.0] * 2
    assert len(counting.asked) == 5
    assert [scored.rewards["kind"] for scored in score([texts[4], texts[0]])] == [5.0, 1.0]
    assert counting.asked[5:] == ["x"], "the oldest was forgotten, the newest not"
    score.remember((user_prompt("Another"), "x"), Scored({"kind": 9.0}, {}))
    assert score([(user_prompt("Another"), "x")]) == [({"kind": 9.0}, {})]


def test_ensembles_are_asked_for_their_disagreement_and_no_other_reward_is():
    class Unsure(Counting):
        def disagreement(self, prompts, responses):
            return torch.tensor([float(len(response)) / 10 for response in responses])

    score = Scorer({"kind": Unsure(), "brief": Counting()})
    (scored,) = score([(PROMPT, "xxxxx")])
    assert scored.rewards == {"kind": 5.0, "brief": 5.0}
    assert scored.disagreement == {"kind": 0.5}

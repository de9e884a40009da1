"""Which responses meet: held-out ones, on the prompts that both have answered."""

import pytest

from mva.judging.pairing import pair_up, prompt_text, responses


def line(candidate, prompt, response, split="test"):
    turns = [{"role": "user", "content": prompt}]
    ids = {"id": candidate, "prompt_id": f"id-{prompt}", "split": split}
    return {**ids, "prompt": turns, "response": response, "rewards": {"helpful": 1.0}}


LINES = [
    line("a", "p", "a says p"),
    line("a", "q", "a says q"),
    line("a", "r", "in validation", split="validation"),
    line("b", "q", "b says q"),
    line("b", "r", "b says r"),
    line("c", "s", "c says s"),
]


def test_pairs_are_of_the_shared_held_out_prompts_and_of_every_value():
    pairs = pair_up(responses(LINES, "a"), responses(LINES, "b"), ["helpful", "harmless"])
    assert [(q.value, q.prompt, q.first.text, q.second.text) for q in pairs] == [
        ("helpful", "q", "a says q", "b says q"),
        ("harmless", "q", "a says q", "b says q"),
    ]


def test_candidates_without_a_prompt_in_common_are_refused():
    with pytest.raises(ValueError, match="no prompt in common"):
        pair_up(responses(LINES, "a"), responses(LINES, "c"), ["helpful"])


def test_a_candidate_without_held_out_responses_is_refused():
    with pytest.raises(ValueError, match="d has no responses to held-out prompts"):
        responses(LINES, "d")


def test_a_dialogue_is_written_with_its_roles():
    turns = [("user", "Hi"), ("assistant", "Hello"), ("user", "Why?")]
    dialogue = [{"role": role, "content": content} for role, content in turns]
    assert prompt_text(dialogue) == "user: Hi\n\nassistant: Hello\n\nuser: Why?"
    assert prompt_text(dialogue[:1]) == "Hi"

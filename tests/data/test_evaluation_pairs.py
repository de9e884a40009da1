from mva.data.evaluation_pairs import evaluation_pairs
from mva.data.preference import PreferencePair, ValueData, prompt_id, user_prompt


def pair(prompt, number=0):
    return PreferencePair(user_prompt(prompt), f"good {number}", f"bad {number}")


DATA = {
    "kind": ValueData(
        "kind", train=(pair("a"),), validation=(pair("b"), pair("c"), pair("c", 1)), test=(pair("d"), pair("e"))
    ),
    "brief": ValueData("brief", train=(pair("d"),), validation=(pair("c"), pair("a")), test=(pair("f"),)),
}


def test_each_value_has_its_own_pairs_and_none_on_a_prompt_that_any_value_trains_on():
    chosen = evaluation_pairs(DATA, "validation")
    assert set(chosen["kind"]) == {pair("b"), pair("c"), pair("c", 1)}
    assert chosen["brief"] == (pair("c"),)
    assert evaluation_pairs(DATA, "test") == {"kind": (pair("e"),), "brief": (pair("f"),)}


def test_pairs_come_in_the_order_of_their_prompts_hashes_up_to_the_limit():
    everything = evaluation_pairs(DATA, "validation")["kind"]
    hashes = [prompt_id(each.prompt) for each in everything]
    assert hashes == sorted(hashes)
    assert evaluation_pairs(DATA, "validation", 2)["kind"] == everything[:2]

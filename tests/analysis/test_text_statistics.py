import pytest

from mva.analysis.text_statistics import STATISTICS, distinct_words, empty, length, repeated_3grams, sentence_length


@pytest.mark.parametrize(
    ("text", "repeated", "distinct", "words"),
    [
        ("", 0, 1, 0),
        ("  \n ", 0, 1, 0),
        ("one two", 0, 1, 2),
        ("a b c a b c", 1 / 4, 3 / 6, 6),
        ("no no no no no", 2 / 3, 1 / 5, 5),
        ("No no NO", 0, 1 / 3, 3),
        ("every word is another one", 0, 1, 5),
    ],
)
def test_statistics_of_texts_counted_by_hand(text, repeated, distinct, words):
    assert repeated_3grams(text) == pytest.approx(repeated)
    assert distinct_words(text) == pytest.approx(distinct)
    assert length(text) == words
    assert empty(text) == (words == 0)


def test_falling_apart_moves_every_judged_statistic_in_its_worse_direction():
    fine = "first pour the water and then add two spoons of tea"
    looping, fragments = "tea tea tea tea tea", "Pour. Wait. Add two. Tea."
    for broken, which in (
        (looping, ["repeated 3-grams", "distinct words"]),
        (fragments, ["words a sentence"]),
        ("", ["empty"]),
    ):
        for name in which:
            one = STATISTICS[name]
            assert (one.measure(broken) - one.measure(fine)) * one.worse > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [("", 0), ("...", 0), ("no end in sight", 4), ("Two words. Now three words!  One?", 2), ("Costs 3.50 a piece.", 4)],
)
def test_a_sentences_length_is_the_mean_over_the_sentences_that_have_words(text, words):
    assert sentence_length(text) == words

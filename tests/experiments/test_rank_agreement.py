from rank_agreement import Setting, simulate


def test_the_interval_covers_and_the_words_are_mostly_right():
    shares = simulate(Setting("half", 0.5), 12, seed=4)
    assert shares["covers"] >= 0.7
    assert shares["wrong_agree"] <= 0.1
    assert simulate(Setting("opposed", -1.0), 3, seed=4)["disagree"] == 1

"""How limits, and the candidate that is chosen under them, are said."""

from mva.analysis.limits import Answer, Limit, Standing
from mva.analysis.side_costs import SHARES
from mva.statistics.rewards import MINIMUM_PROMPTS


def limit_words(limit: Limit) -> str:
    """Say what a limit demands."""
    if limit.kind == "gain":
        return f"{100 * limit.bound:.4g}% of the best gain in {limit.name}"
    if limit.kind == "score":
        return f"{limit.name} at least {limit.bound:.4g}"
    return f"{limit.name} at most {_number(limit, limit.bound)}"


def standing_words(standing: Standing) -> str:
    """Say a candidate's number with its interval, and what that decides."""
    limit = standing.limit
    numbers = [_number(limit, number) for number in (standing.estimate, standing.low, standing.high)]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]}): {standing.verdict}"


def short_words(answer: Answer) -> str:
    """Say in a few words what the candidate is."""
    if not answer.selection.limits:
        return f"the highest score of {answer.selection.most}"
    return "keeps the limits" if answer.keeps else "nearest to the limits"


def answer_lines(answer: Answer) -> list[str]:
    """Answer in a sentence, then say what stands behind it and which candidates are undecided."""
    candidate, limits = answer.candidate, answer.selection.limits
    who = f"{candidate.label} ({candidate.id})"
    if not limits:
        return [f"{who} has the highest score of {answer.selection.most} on validation prompts."]
    demanded = ", ".join(map(limit_words, limits))
    if not answer.standings:
        return [
            f"The limits ({demanded}) can't be held against held-out prompts: they need two or more of them, with "
            f"responses for side costs, and the base's scores for gains. {who} is the best without limits."
        ]
    where = f"with 95% confidence on {answer.n_prompts} held-out prompts"
    if answer.keeps:
        best = "where all values matter alike" if answer.selection.most is None else f"in {answer.selection.most}"
        others = f"of the {answer.n_keeping} that do it is the best {best} on validation prompts"
        lines = [f"{who} keeps the limits ({demanded}) {where}; {others if answer.n_keeping > 1 else 'no other does'}."]
    else:
        lines = [f"No candidate keeps the limits ({demanded}) {where}; the nearest is {who}."]
    lines += [f"{_subject(standing.limit)} {standing_words(standing)}." for standing in answer.standings[candidate.id]]
    return [*lines, *_undecided_lines(answer)]


def standing_rows(answer: Answer) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of all candidates that were held against the limits, the best first."""
    columns = ["candidate", *map(limit_words, answer.selection.limits)]
    return columns, [
        [identifier, *map(standing_words, standings)] for identifier, standings in answer.standings.items()
    ]


def _undecided_lines(answer: Answer) -> list[str]:
    if answer.n_prompts < MINIMUM_PROMPTS:
        return [f"Fewer than {MINIMUM_PROMPTS} held-out prompts decide nothing: raise evaluation.n_test_prompts."]
    ids = ", ".join(candidate.id for candidate in answer.undecided)
    return [f"Undecided, which more held-out prompts may change: {ids}."] if ids else []


def _subject(limit: Limit) -> str:
    if limit.kind == "gain":
        return f"Gain in {limit.name} less {100 * limit.bound:.4g}% of the best gain:"
    return f"{limit.name}:"


def _number(limit: Limit, number: float) -> str:
    if limit.kind == "cost":
        return f"{round(100 * number, 1):g}%" if limit.name in SHARES else f"{round(number, 1):g}"
    return f"{number:+.2f}" if limit.kind == "gain" else f"{number:.2f}"

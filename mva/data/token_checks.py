"""What training sees of preference pairs: the template's refusals, cut texts, control tokens."""

from collections import defaultdict
from collections.abc import Sequence

from mva.data.preference import PreferencePair
from mva.data.template import Template
from mva.data.tokenization import TokenLimits
from mva.data.tokenized import tokenize_usable

Problems = dict[str, tuple[str, ...]]

# Control tokens of well-known families, for data that is checked without a model.
WELL_KNOWN = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|begin_of_text|>", "<|end_of_text|>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|end|>",
    "[INST]", "[/INST]", "</s>", "<|start|>", "<|channel|>", "<|message|>", "<|return|>",
)  # fmt: skip


def control_tokens(pairs: Sequence[PreferencePair], marks: Sequence[str] = WELL_KNOWN) -> Problems:
    """Find the pairs in which a text holds what looks like a control token; it is read as text."""
    places = tuple(pair.origin for pair in pairs if _holds_any(pair, marks))
    return {"a text looks like a control token; it is read as text": places} if places else {}


def token_problems(pairs: Sequence[PreferencePair], template: Template, limits: TokenLimits) -> Problems:
    """Find what a model's template and the limits do to pairs, by kind, with the places."""
    problems: dict[str, list[str]] = defaultdict(list)
    usable, unusable = tokenize_usable(pairs, template, limits)
    for bad in unusable:
        problems[bad.problem].append(bad.origin)
    for pair in usable:
        if pair.cut:
            problems[f"cut to {limits.prompt} and {limits.response} tokens"].append(pair.origin)
        if pair.spans:
            problems["a token spans the boundary of prompt and response"].append(pair.origin)
    places_by_kind = {kind: tuple(places) for kind, places in problems.items()}
    return {**places_by_kind, **control_tokens(pairs, template.control_tokens.marks)}


def _holds_any(pair: PreferencePair, marks: Sequence[str]) -> bool:
    text = "\n".join([*(turn.content for turn in pair.prompt), pair.chosen, pair.rejected])
    return any(mark in text for mark in marks)

"""What generated ids say."""

from collections.abc import Sequence

from mva.data.reasoning import Strip, thought_is_open, thought_marks, without_thought
from mva.models.backbone import Backbone


def response_text(ids: Sequence[int], backbone: Backbone, strip: Strip) -> str:
    """Decode what was generated, up to the end of turn and without the thought before the answer."""
    stop = set(backbone.template.stop_ids)
    end = next((k for k, token in enumerate(ids) if token in stop), len(ids))
    decode = backbone.tokenizer.decode
    marks = thought_marks(backbone.template, strip)
    if marks is None:
        return str(decode(ids[:end], skip_special_tokens=True)).strip()
    answer = without_thought(str(decode(ids[:end])), marks, is_open=thought_is_open(backbone.template, marks))
    for mark in backbone.template.control_tokens.marks:
        answer = answer.replace(mark, "")
    return answer.strip()

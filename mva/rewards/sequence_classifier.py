"""Any Hugging Face sequence-classification model as a reward."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from string import Formatter
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from mva.checks import Count, CountFrom0, Place, Text, check
from mva.data.packing import of_like_length
from mva.data.preference import Dialogue
from mva.models.backbone import CPU_TOKENS, Dtype, check_device
from mva.models.store import key_of
from mva.models.tensor_hash import tensors_fingerprint
from mva.rewards.base import RewardContext

_POSITIONS = re.compile(r"^(wpe|.*position.*)$")


class BadTemplate(ValueError):
    """A template that does not say where prompt and response go, or that can't render a dialogue."""


class NotARewardModel(ValueError):
    """A checkpoint that can't serve as the reward model that the configuration asks for."""


@dataclass(frozen=True)
class SequenceClassifier:
    """Which model to load and how to read it: nothing is guessed, since a wrong guess looks like a result.

    Args:
        path: Hub name or local folder of the model (safetensors only).
        template: `chat` for the chat template of the model's tokenizer, or text with `{prompt}` and `{response}`,
            which is repeated for every exchange of a dialogue of several turns.
        label: Index of the logit that is the reward (0 where the model has one).
        sign: 1 if a higher logit is better, -1 if it is a cost.
        revision: Branch, tag or commit on the hub.
        dtype: Torch's name of the precision; half precision makes scores depend on the batch.
        device: Where the model runs; None for the backbone's device. It is no part of the reward's key.
        max_tokens: Longer texts lose their beginning; so do texts of more tokens than the model has positions for.
        batch_size: Texts of `max_tokens` tokens a batch; shorter ones come in larger batches.

    Raises:
        BadTemplate: If the template does not hold exactly `{prompt}` and `{response}`.
        ValueError: If `sign` is neither 1 nor -1, or there is no such device or precision.
    """

    path: Place
    template: Text
    label: CountFrom0
    sign: Literal[1, -1]
    revision: Text | None = None
    dtype: Dtype = "float32"
    device: Text | None = None
    max_tokens: Count = 1024
    batch_size: Count = 16

    def __post_init__(self) -> None:
        """Refuse settings of another type, out of range, or that don't fit each other.

        Raises:
            BadSetting: For the first of them.
        """
        check(self)
        if self.device is not None:
            check_device(self.device)
        if self.template != "chat":
            _check_template(self.template)

    def build(self, context: RewardContext) -> "LoadedClassifier":
        """Load the model.

        Raises:
            NotARewardModel: If its head is not in the checkpoint, or has no such label, or `template` is `chat` and
                the tokenizer has no chat template.
            OSError: If the model can't be had.
        """
        tokenizer = AutoTokenizer.from_pretrained(self.path, revision=self.revision)
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            self.path,
            revision=self.revision,
            dtype=self.dtype,
            use_safetensors=True,
            output_loading_info=True,
        )
        if loading["missing_keys"]:
            raise NotARewardModel(
                f"'{self.path}' does not hold {sorted(loading['missing_keys'])}, which would be random: "
                "reward.path must name a trained sequence-classification model."
            )
        if not 0 <= self.label < model.config.num_labels:
            raise NotARewardModel(
                f"'{self.path}' has {model.config.num_labels} labels: reward.label can't be {self.label}."
            )
        if self.template == "chat" and not tokenizer.chat_template:
            raise NotARewardModel(f"The tokenizer of '{self.path}' has no chat template: write reward.template out.")
        return LoadedClassifier(self, model.to(self.device or context.backbone.device).eval(), tokenizer)


class LoadedClassifier:
    """A sequence classifier whose score of a text does not depend on the texts beside it."""

    def __init__(self, spec: SequenceClassifier, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.spec = spec
        described = {name: setting for name, setting in asdict(spec).items() if name != "device"}
        weights = tensors_fingerprint(model.named_parameters())
        self.key = key_of({**described, "batch_size": 0, "weights": weights})
        self._model = model
        self._tokenizer = tokenizer
        self._limit = min(spec.max_tokens, usable_positions(model, tokenizer))

    def score(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Score with the chosen logit, times the sign. Shape: `(n,)`."""
        tokens = [self._tokens(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
        scores = torch.empty(len(tokens), dtype=torch.float64)
        for batch in of_like_length(list(map(len, tokens)), tokens=self._budget):
            scores[batch] = self._logits([tokens[k] for k in batch])[:, self.spec.label].double().cpu()
        return self.spec.sign * scores

    @property
    def _budget(self) -> int:
        """How many tokens to compute at once; more than the caches hold make a CPU slower."""
        tokens = self.spec.batch_size * self._limit
        return min(tokens, CPU_TOKENS) if self._model.device.type == "cpu" else tokens

    @torch.no_grad()
    def _logits(self, rows: Sequence[Sequence[int]]) -> Tensor:
        pad = self._pad_id(rows)
        # Decoder models look for the last token that is not this one, and read the score there.
        self._model.config.get_text_config().pad_token_id = pad
        input_ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=pad)
        lengths = torch.tensor([len(row) for row in rows])[:, None]
        attention_mask = (torch.arange(input_ids.shape[1]) < lengths).long()
        device = self._model.device
        logits: Tensor = self._model(input_ids=input_ids.to(device), attention_mask=attention_mask.to(device)).logits
        return logits

    def _pad_id(self, rows: Sequence[Sequence[int]]) -> int:
        """Choose what to pad with: instead of the end-of-sequence token an id that stands in no row.

        With pad = eos the score would be read before the end of a text that ends with eos, where responses
        may not differ yet; and a model without any padding token refuses batches.
        """
        tokenizer = self._tokenizer
        if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
            return int(tokenizer.pad_token_id)
        used = set().union(*rows)
        return next(k for k in range(len(used) + 1) if k not in used)

    def _tokens(self, prompt: Dialogue, response: str) -> list[int]:
        spec, tokenizer = self.spec, self._tokenizer
        if spec.template == "chat":
            turns = [turn._asdict() for turn in prompt] + [{"role": "assistant", "content": response}]
            text = str(tokenizer.apply_chat_template(turns, tokenize=False))
        else:
            text = "".join(spec.template.format(prompt=p, response=r) for p, r in _exchanges(prompt, response))
        # A chat template writes its own special tokens; plain text gets the tokenizer's ([CLS], <s>, ...).
        special = spec.template != "chat"
        tokenizer.truncation_side = "left"
        return list(tokenizer.encode(text, add_special_tokens=special, truncation=True, max_length=self._limit))


def usable_positions(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Count the tokens that a model can read: fewer than its table of positions has rows where those do not start at 0.

    RoBERTa and its kin (a table with a padding row) start behind it: 512 of 514 rows. OPT's table names its `offset`.
    """
    limits = [tokenizer.model_max_length]
    stated = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(stated, int) and stated > 0:
        limits.append(stated)
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and _POSITIONS.search(name.rpartition(".")[2]):
            first = getattr(module, "offset", 0 if module.padding_idx is None else module.padding_idx + 1)
            limits.append(module.num_embeddings - first)
    return min(limits)


def _check_template(template: str) -> None:
    try:
        fields = sorted(name for _, name, _, _ in Formatter().parse(template) if name is not None)
    except ValueError as error:
        raise BadTemplate(f"reward.template {template!r} is not a format string: {error}.") from error
    if fields != ["prompt", "response"]:
        raise BadTemplate(
            f"reward.template {template!r} must hold {{prompt}} and {{response}} once each and nothing else "
            "(double the braces that are meant as text), or be 'chat'."
        )


def _exchanges(prompt: Dialogue, response: str) -> Iterator[tuple[str, str]]:
    """Pair the user's turns with the assistant's."""
    contents = [turn.content for turn in prompt] + [response]
    roles = [turn.role for turn in prompt] + ["assistant"]
    if roles != ["user", "assistant"] * (len(roles) // 2):
        raise BadTemplate(
            f"reward.template writes out alternating turns of user and assistant, not {roles}: use 'chat'."
        )
    return zip(contents[::2], contents[1::2], strict=True)

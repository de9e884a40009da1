"""Any Hugging Face sequence-classification model as a reward."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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

from mva.checks import BadSetting, Count, CountFrom0, Place, Text, check
from mva.data.packing import of_like_length
from mva.data.preference import Dialogue
from mva.models.backbone import CPU_TOKENS, Dtype, check_device
from mva.models.store import key_of
from mva.models.tensor_hash import tensors_fingerprint
from mva.rewards.base import RewardContext
from mva.rewards.classifier_text import CHAT, ClassifierText, check_template
from mva.rewards.served_classifier import RewardServer, ServedClassifier

_ADDRESS = re.compile(r"https?://[^\s/@]+(/[^\s@]*)?")
_POSITIONS = re.compile(r"^(wpe|.*position.*)$")


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
        server: Address of a vLLM server with the same model, which then scores; None to load the model here.
        max_tokens: Longer texts lose their beginning; so do texts of more tokens than the model has positions for.
        batch_size: Texts of `max_tokens` tokens a batch; shorter ones come in larger batches. Texts a request to a
            server.

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
    server: Text | None = None

    def __post_init__(self) -> None:
        """Refuse settings of another type, out of range, or that don't fit each other.

        Raises:
            BadSetting: For the first of them.
        """
        check(self)
        if self.device is not None:
            check_device(self.device)
        if self.server is not None and not _ADDRESS.fullmatch(self.server):
            raise BadSetting("server", f"is {self.server!r}: write an address, such as http://127.0.0.1:8000.")
        if self.template != CHAT:
            check_template(self.template)

    def build(self, context: RewardContext) -> "LoadedClassifier | ServedClassifier":
        """Load the model, or find its server.

        Raises:
            RewardServerTrouble: If the server does not answer.
            NotARewardModel: If its head is not in the checkpoint, or has no such label, or `template` is `chat` and
                the tokenizer has no chat template.
            OSError: If the model can't be had.
        """
        tokenizer = AutoTokenizer.from_pretrained(self.path, revision=self.revision)
        if self.template == CHAT and not tokenizer.chat_template:
            raise NotARewardModel(f"The tokenizer of '{self.path}' has no chat template: write reward.template out.")
        return self._load(tokenizer, context) if self.server is None else self._find(tokenizer, self.server)

    def check_server(self) -> None:
        """Check that the server answers, where there is one.

        Raises:
            RewardServerTrouble: If it does not.
        """
        if self.server is not None:
            RewardServer(self.server)

    def describe(self) -> dict[str, object]:
        """List what scores depend on, but the weights: not where and how many at once they are computed."""
        described = {name: setting for name, setting in asdict(self).items() if name not in ("device", "server")}
        return {**described, "batch_size": 0}

    def _find(self, tokenizer: PreTrainedTokenizerBase, address: str) -> ServedClassifier:
        server = RewardServer(address)
        limits = [self.max_tokens, tokenizer.model_max_length, server.max_tokens or self.max_tokens]
        return ServedClassifier(
            server,
            ClassifierText(tokenizer, self.template, min(limits)),
            label=self.label,
            sign=self.sign,
            batch_size=self.batch_size,
            described=self.describe(),
        )

    def _load(self, tokenizer: PreTrainedTokenizerBase, context: RewardContext) -> "LoadedClassifier":
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
        return LoadedClassifier(self, model.to(self.device or context.backbone.device).eval(), tokenizer)


class LoadedClassifier:
    """A sequence classifier whose score of a text does not depend on the texts beside it."""

    def __init__(self, spec: SequenceClassifier, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.spec = spec
        self.key = key_of({**spec.describe(), "weights": tensors_fingerprint(model.named_parameters())})
        self._model = model
        self._tokenizer = tokenizer
        self._limit = min(spec.max_tokens, usable_positions(model, tokenizer))
        self._written = ClassifierText(tokenizer, spec.template, self._limit)

    def score(self, prompts: Sequence[Dialogue], responses: Sequence[str]) -> Tensor:
        """Score with the chosen logit, times the sign. Shape: `(n,)`."""
        tokens = self._written.tokens(prompts, responses)
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

"""Small language models of three architectures, trained from scratch on the conversations of the data.

Plain next-token prediction over rendered dialogues (prompt and good response) for a budget of processor time: a busy
machine takes longer, and gives the same kind of model. Whatever the runs score on is left out: the prompts that the
experiment validates on, and the test files. Positions end with `CONTEXT`.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from mva.apps import assemble
from mva.apps.command import conf_folder
from mva.data.batched import tokenize_pairs
from mva.data.dialogues import read_prompt
from mva.data.preference import Dialogue, PreferencePair
from mva.data.sources.base import BadRow
from mva.data.sources.local_files import LocalFiles
from mva.data.template import Template
from mva.experiment import Experiment
from mva.models.backbone import Backbone
from mva.models.reference import reference_log_probs
from mva.models.sources.tiny_random import byte_tokenizer
from mva.records import write_json

CONTEXT, VOCABULARY, BATCH, HELD_OUT_ROWS = 256, 4096, 4, 100
CORPORA = (
    "hh/helpfulness",
    "hh/harmlessness",
    "hh_official/harmlessness",
    "pku_saferlhf/harmlessness",
    "truthfulqa/honesty",
    "truthfulqa/informativeness",
    "ultrafeedback/helpfulness",
    "just_eval/scored",
)
ARCHITECTURES = ("gpt2", "gpt_neox", "llama")
RECORD = "pretraining.json"
Document = tuple[Dialogue, str]


def configured(*overrides: str) -> Experiment:
    """Assemble `experiment=architectures`, as its runs do."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return assemble.experiment(compose("config", ["experiment=architectures", *overrides]))


def validation_pairs(experiment: Experiment) -> list[list[PreferencePair]]:
    """List the pairs, by value, whose prompts the runs validate on: pretraining must not see them."""
    data, _ = experiment.data.load(experiment.values)
    return [list(value.validation) for value in data.values()]


def documents(files: Iterable[Path], *, without: set[Dialogue]) -> Iterator[Document]:
    """Yield each distinct prompt and good response (`chosen`, or the only one) of the files.

    Raises:
        BadRow: For the first unusable row.
    """
    seen = set()
    for row in LocalFiles([str(file) for file in files]).rows():
        if isinstance(row, BadRow):
            raise row
        prompt = read_prompt(row.origin, row.fields["prompt"], labelled=True)
        document = prompt, str(row.fields.get("chosen") or row.fields["response"]).strip()
        if prompt not in without and document not in seen:
            seen.add(document)
            yield document


def fit_tokenizer(texts: Sequence[Document]) -> PreTrainedTokenizerBase:
    """Fit a byte-level BPE with a ChatML template: every text survives it, and turns end with the end of sequence."""
    spoken = (part for prompt, response in texts for part in [*(turn.content for turn in prompt), response])
    return byte_tokenizer().train_new_from_iterator(spoken, vocab_size=VOCABULARY)


def token_rows(texts: Iterable[Document], template: Template) -> list[dict[str, torch.Tensor]]:
    """Render the dialogues one behind the other and cut them into rows; what fills no row is left out.

    Shape: `(CONTEXT,)` each.
    """
    ids = [i for prompt, response in texts for i in template.conversation_ids(prompt, response).ids]
    rows = torch.tensor(ids[: len(ids) // CONTEXT * CONTEXT]).reshape(-1, CONTEXT)
    return [{"input_ids": row, "labels": row} for row in rows]


def configuration(architecture: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """Configure about 5 million parameters: 4 layers of width 288, input and output embeddings shared."""
    width, layers, heads = 288, 4, 4
    shared = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": True,
    }
    usual = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": CONTEXT,
    }
    if architecture == "gpt2":
        sizes = {"n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": CONTEXT}
        return GPT2Config(**shared, **sizes, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    if architecture == "gpt_neox":
        return GPTNeoXConfig(**shared, **usual, intermediate_size=4 * width)
    return LlamaConfig(**shared, **usual, num_key_value_heads=heads // 2, intermediate_size=8 * width // 3)


def rate_factor(spent: float) -> float:
    """Learning rate as a share of its peak when `spent` of the budget is: linear warm-up of 5 %, then a cosine to 0."""
    spent = min(1.0, spent)
    return min(spent / 0.05, 0.5 * (1 + math.cos(math.pi * spent)))


class Budget(TrainerCallback):
    """Stop the training when the process has computed for `seconds`; `spent` is the share of them."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = time.process_time()

    @property
    def spent(self) -> float:
        """The share of the budget that is used up."""
        return (time.process_time() - self._start) / self.seconds

    def on_step_end(self, _args: TrainingArguments, _state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask the trainer to stop once nothing is left."""
        control.should_training_stop = self.spent >= 1


def pretrain(architecture: str, folder: Path, *, minutes: float, data: Path) -> None:
    """Train one model and save it into `folder`, unless that was done; `pretraining.json` is written last.

    Raises:
        DataUnavailable: If a file of the data is missing.
    """
    if (folder / RECORD).exists():
        return
    unseen = [(pair.prompt, pair.chosen) for pairs in validation_pairs(configured()) for pair in pairs]
    files = [data / f"{corpus}_train.jsonl" for corpus in CORPORA]
    texts = list(documents(files, without={prompt for prompt, _ in unseen}))
    tokenizer = fit_tokenizer(texts)
    template = Template(tokenizer)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(configuration(architecture, tokenizer))
    rows, held_out = token_rows(texts, template), token_rows(unseen, template)[:HELD_OUT_ROWS]
    history = _fit(model, rows, held_out, Budget(60 * minutes), folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    steps = history[-1]["step"]
    record = {
        "architecture": architecture,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "minutes": minutes,
        "steps": steps,
        "tokens": steps * BATCH * CONTEXT,
        "corpus_tokens": len(rows) * CONTEXT,
        "held_out_loss": losses[-1],
        "history": history,
    }
    write_json(folder / RECORD, record)


def bits_per_byte(experiment: Experiment, backbone: Backbone, *, n_pairs: int = 50) -> float:
    """Measure how well a model predicts good responses that it has not seen, end of turn included.

    Bits a byte don't depend on the tokenizer. The responses are those of `n_pairs` validation pairs of each value.
    """
    pairs = [pair for some in validation_pairs(experiment) for pair in some[:n_pairs]]
    tokens = tokenize_pairs(pairs, backbone.template, experiment.data.limits)
    nats = -float(reference_log_probs(backbone, tokens, experiment.store)[:, 0].double().sum())
    texts = [backbone.tokenizer.decode(pair.chosen, skip_special_tokens=True) for pair in tokens]
    return nats / math.log(2) / sum(len(text.encode()) for text in texts)


def _fit(
    model: torch.nn.Module,
    rows: list[dict[str, torch.Tensor]],
    held_out: list[dict[str, torch.Tensor]],
    budget: Budget,
    folder: Path,
) -> list[dict[str, Any]]:
    """Train until the budget is spent; return what the trainer logged, the last held-out loss at its end."""
    optimizer = AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = LambdaLR(optimizer, lambda _step: rate_factor(budget.spent))
    settings = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1000,  # the budget ends it
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=2 * BATCH,
        eval_strategy="steps",
        eval_steps=200,
        logging_steps=50,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )
    trainer = Trainer(model, settings, None, rows, held_out, optimizers=(optimizer, schedule), callbacks=[budget])
    trainer.train()
    trainer.evaluate()
    return trainer.state.log_history

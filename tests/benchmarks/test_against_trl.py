"""A DPO step beside that of TRL's trainer: the same pairs, model, adapter and precision."""

import json
import time

import pytest
import torch
import trl
from datasets import Dataset
from measuring import RANK, adapted, configuration, medians, spent, step, tokens_of, with_adapter
from peft import LoraConfig
from trl import DPOConfig, DPOTrainer

from mva.apps import assemble
from mva.models.lora import attention_projections, detach
from mva.models.reference import reference_log_probs
from mva.models.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
BATCH, TURNS = 4, 3
N_PAIRS = BATCH * (TURNS + 1)  # the first turn warms up


def conversation(pair):
    return {
        "prompt": [{"role": "user", "content": pair.prompt[-1].content}],
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
    }


class Timed(DPOTrainer):
    """TRL's trainer, which notes what its reference log-probs take."""

    def _precompute_ref_logps(self, *arguments):
        start = time.process_time()
        dataset = super()._precompute_ref_logps(*arguments)
        self.reference_seconds = time.process_time() - start
        return dataset


def trainer_of(hh, tokenizer, texts, folder, **settings):
    model, _ = assemble.build(hh.model).source.load(torch.float32)
    targets = attention_projections(model)
    standard = {"per_device_train_batch_size": BATCH, "use_cpu": True, "bf16": False, "report_to": "none"}
    trainer = Timed(
        model,
        args=DPOConfig(str(folder), **standard, **settings),
        train_dataset=Dataset.from_list([conversation(pair) for pair in texts]),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=RANK, lora_alpha=32, target_modules=targets, task_type="CAUSAL_LM"),
    )
    trainer.current_gradient_accumulation_steps = 1  # its loop would set it
    return trainer


def steps_of(trainer):
    """Steps of the trainer on the pairs of a turn."""
    examples = [trainer.train_dataset[k] for k in range(N_PAIRS)]

    def take(turn):
        batch = trainer.data_collator(examples[turn * BATCH : (turn + 1) * BATCH])
        trainer.model.zero_grad()
        trainer.training_step(trainer.model, batch)

    return take


def test_a_step_is_much_faster_than_trl_s(hh, texts, tmp_path, record):
    backbone, model = adapted(hh, "float32")
    pairs = tokens_of(backbone, texts)
    theirs = steps_of(trainer_of(hh, backbone.tokenizer, texts[:N_PAIRS], tmp_path))
    taken = medians(
        TURNS, theirs=theirs, ours=lambda turn: step(backbone, model, pairs[turn * BATCH : (turn + 1) * BATCH])
    )
    detach(model)
    ratio = taken["theirs"] / taken["ours"]
    details = f"SmolLM2, {BATCH} pairs, {TURNS} turns: {taken['theirs']:.1f} and {taken['ours']:.1f} CPU s"
    record("trl_step", ratio, f"TRL {trl.__version__}; {details}")
    assert ratio > 3


def test_references_and_steps_are_much_faster_than_trl_s_with_precomputed_references(hh, texts, tmp_path, record):
    backbone, model = adapted(hh, "float32")
    detach(model)
    pairs = tokens_of(backbone, texts[:N_PAIRS])
    trainer = trainer_of(hh, backbone.tokenizer, texts[:N_PAIRS], tmp_path, precompute_ref_log_probs=True)
    start = time.process_time()
    reference_log_probs(backbone, pairs, Store(tmp_path / "store"))
    reference_seconds = time.process_time() - start
    model = with_adapter(backbone)
    taken = medians(
        2,
        theirs=steps_of(trainer),
        ours=lambda turn: step(backbone, model, pairs[turn * BATCH : (turn + 1) * BATCH]),
    )
    detach(model)
    n_steps = N_PAIRS // BATCH
    theirs = n_steps * taken["theirs"] + trainer.reference_seconds
    ours = n_steps * taken["ours"] + reference_seconds
    ratio = theirs / ours
    details = (
        f"{n_steps} steps and the references of their {N_PAIRS} pairs: {theirs:.0f} and {ours:.0f} CPU s, "
        f"of which references {trainer.reference_seconds:.0f} and {reference_seconds:.0f}"
    )
    record("trl_references", ratio, f"TRL {trl.__version__}; {details}")
    assert ratio > 2


THEIRS = """
import json, sys
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

folder = sys.argv[1]
settings = json.load(open(f"{folder}/settings.json"))
torch.set_num_threads(1)
trainer = DPOTrainer(
    AutoModelForCausalLM.from_pretrained(f"{folder}/model", dtype=torch.float32),
    args=DPOConfig(f"{folder}/trl", per_device_train_batch_size=4, use_cpu=True, bf16=False, report_to="none"),
    train_dataset=Dataset.from_list(settings["rows"]),
    processing_class=AutoTokenizer.from_pretrained(f"{folder}/model"),
    peft_config=LoraConfig(r=16, lora_alpha=32, target_modules=settings["targets"], task_type="CAUSAL_LM"),
)
trainer.current_gradient_accumulation_steps = 1
examples = [trainer.train_dataset[k] for k in range(len(settings["rows"]))]
for start in range(0, len(examples), 4):
    trainer.model.zero_grad()
    trainer.training_step(trainer.model, trainer.data_collator(examples[start : start + 4]))
"""
OURS = "from mva.apps.train import main\nmain()"


def test_peak_memory_is_a_fraction_of_trl_s(hh, tmp_path, record):
    words = ["data.max_train_pairs=48", "value.names=[helpful]", "trainer.recipe.steps=12"]
    config = configuration("experiment=hh", *words)
    pairs = assemble.experiment(config).data.load(["helpful"])[0]["helpful"].train
    model, tokenizer = assemble.build(config.model).source.load(torch.float32)
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")
    # A step on the batch of the longest text, and another: the longest decides TRL's peak, and a step takes long.
    batches = [pairs[k : k + BATCH] for k in range(0, 48, BATCH)]
    batches.sort(key=lambda batch: -max(len(conversation_text(pair)) for pair in batch))
    rows = [conversation(pair) for batch in batches[:2] for pair in batch]
    (tmp_path / "settings.json").write_text(json.dumps({"rows": rows, "targets": attention_projections(model)}))
    del model
    theirs = spent(THEIRS, str(tmp_path), folder=tmp_path)
    paths = [f"paths.cache={tmp_path / 'cache'}", f"model.source.cache={config.paths.cache}", "hydra.run.dir=run"]
    ours = spent(OURS, "experiment=hh", "tracking=local", *words, *paths, folder=tmp_path)
    ratio = ours.peak_bytes / theirs.peak_bytes
    details = (
        f"48 pairs, 4 a step: mva-train as a whole {ours.peak_bytes / 2**30:.1f} GiB; "
        f"TRL {trl.__version__} on the longest batch and another {theirs.peak_bytes / 2**30:.1f} GiB"
    )
    record("trl_memory", ratio, details)
    assert ratio < 0.6


def conversation_text(pair):
    return pair.prompt[-1].content + max(pair.chosen, pair.rejected, key=len)

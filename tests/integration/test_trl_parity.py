"""One batch of pairs on one model: our losses and implicit rewards are those of TRL's DPOTrainer."""

import pytest
import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from mva.data.batched import tokenize_pairs
from mva.data.packing import pack
from mva.data.preference import PreferencePair, user_prompt
from mva.data.tokenization import TokenLimits
from mva.models.backbone import load_backbone
from mva.models.log_probs import sequence_log_probs
from mva.models.lora import LoraSpec, attach, detach, extract
from mva.models.merge import merged_copy
from mva.models.sources.tiny_random import TinyRandom
from mva.objectives.dpo import DPO

pytestmark = pytest.mark.filterwarnings("ignore")
PAIRS = [
    PreferencePair(user_prompt("How long does rice take?"), "About twelve minutes.", "Forever."),
    PreferencePair(user_prompt("Tell me a joke."), "Two eggs talk in a pan.", "No, I would rather not do that today."),
    PreferencePair(user_prompt("Hi"), "Hello! What can I do for you?", "What?"),
]


@pytest.fixture
def policy():
    """A base with an adapter that is not zero, so that policy and reference policy differ."""
    backbone = load_backbone(TinyRandom("llama"), device="cpu")
    model = attach(backbone, LoraSpec(rank=4), name="default", seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return backbone, model


def ours(backbone, model):
    tokens = tokenize_pairs(PAIRS, backbone.template, TokenLimits(prompt=512, response=512))
    batch = pack(tokens)
    with torch.no_grad():
        chosen = sequence_log_probs(model, batch, split_head=True)
        with model.disable_adapter():
            reference = sequence_log_probs(model, batch, split_head=True)
    return DPO(beta=0.1)(*chosen, *reference)


def theirs(backbone, vector, folder):
    rows = Dataset.from_list(
        [
            {
                "prompt": backbone.template.text(pair.prompt),
                "chosen": pair.chosen + backbone.template.end_of_turn,
                "rejected": pair.rejected + backbone.template.end_of_turn,
            }
            for pair in PAIRS
        ]
    )
    backbone.tokenizer.eos_token = backbone.template.end_of_turn
    settings = DPOConfig(
        str(folder), beta=0.1, per_device_train_batch_size=len(PAIRS), max_length=None, report_to=[], use_cpu=True,
        bf16=False, gradient_checkpointing=False,
    )  # fmt: skip
    # TRL takes a fresh copy of an adapter for its reference policy: give it the policy merged, and the base beside it.
    policy = merged_copy(backbone, vector)
    base = load_backbone(TinyRandom("llama"), device="cpu").model
    trainer = DPOTrainer(policy, base, args=settings, train_dataset=rows, processing_class=backbone.tokenizer)
    batch = next(iter(torch.utils.data.DataLoader(trainer.train_dataset, len(PAIRS), collate_fn=trainer.data_collator)))
    with torch.no_grad():
        loss = trainer.compute_loss(policy.eval(), batch)
    return loss, trainer._metrics["eval"], batch


def test_loss_and_rewards_equal_trls_on_the_same_model(policy, tmp_path):
    backbone, model = policy
    losses, chosen, rejected = ours(backbone, model)
    vector = extract(model, "default", base=backbone.fingerprint)
    detach(model)
    loss, metrics, batch = theirs(backbone, vector, tmp_path)
    assert int(batch["attention_mask"].sum()) > 0
    assert losses.mean().item() == pytest.approx(loss.item(), abs=1e-5)
    assert metrics["rewards/chosen"][0] == pytest.approx(chosen.mean().item(), abs=1e-4)
    assert metrics["rewards/rejected"][0] == pytest.approx(rejected.mean().item(), abs=1e-4)
    assert losses.std() > 1e-3, "the batch tells pairs apart"

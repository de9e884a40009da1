"""Write the tables of docs/scaling.md from the formulas of scaling.py.

python experiments/scaling_tables.py --write
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from scaling import OPTIMIZER, SEVEN_BILLION, Dtype, Tokens, llama

from mva.records import write_text

DOCS = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- computed by experiments/scaling_tables.py -->", "<!-- end -->"
GB = 1e9
MODELS = {
    "1B (Llama 3.2)": llama(16, 2048, 8192, 32, 8, vocabulary=128_256, tied=1),
    "7B (Llama 2)": SEVEN_BILLION,
    "13B (Llama 2)": llama(40, 5120, 13824, 40, 40),
    "70B (Llama 3)": llama(80, 8192, 28672, 64, 8, vocabulary=128_256),
}
PAIRS, PROMPT, RESPONSE = 16, 512, 256
AT_ONCE = 4096
"""Tokens that a GPU computes at once (`trainer.execution.tokens`)."""
VALUES, CANDIDATES, PROMPTS, SPOKEN, ROWS = 2, 25, 24, 256, 64
STEPS = 1000
SUSTAINED = 100e12
"""Operations a second that the tables' hours are for; a matrix product's rate on the card times the share reached."""
CARDS = (24, 48, 80)
SPARE = 0.9
"""Share of a card's memory that can be counted on."""
Cells = Sequence[Sequence[str]]


def memory_cells() -> Cells:
    """Training memory of each model, and the keys to set."""
    cells = [["model", "weights, bfloat16", "nf4", "adapters and Adam", "activations of 4,096 tokens", "checkpointed",
              "a training, bfloat16", "checkpointed", "nf4, checkpointed", "512 tokens at once"]]  # fmt: skip
    tokens, few = Tokens.alike(AT_ONCE // 1024, PROMPT, RESPONSE), Tokens.alike(1, 256, 128)
    for name, shapes in MODELS.items():
        sizes = [
            shapes.weight_bytes("bfloat16"),
            shapes.weight_bytes("nf4"),
            OPTIMIZER * shapes.lora,
            shapes.activation_bytes(tokens, "bfloat16"),
            shapes.activation_bytes(tokens, "bfloat16", checkpointing=True),
            shapes.training_bytes(tokens, "bfloat16"),
            shapes.training_bytes(tokens, "bfloat16", checkpointing=True),
            shapes.training_bytes(tokens, "nf4", checkpointing=True),
            shapes.training_bytes(few, "nf4", checkpointing=True),
        ]
        cells.append([name, *(f"{size / GB:.1f} GB" for size in sizes)])
    return cells


def key_cells() -> Cells:
    """The least that has to be set for a card of a given size."""
    tokens, few = Tokens.alike(AT_ONCE // 1024, PROMPT, RESPONSE), Tokens.alike(1, 256, 128)
    settings: list[tuple[str, Tokens, Dtype, bool]] = [
        ("bfloat16", tokens, "bfloat16", False),
        ("bfloat16, 512 tokens at once", few, "bfloat16", False),
        ("bfloat16, 512 tokens at once, checkpointed", few, "bfloat16", True),
        ("nf4", tokens, "nf4", False),
        ("nf4, 512 tokens at once", few, "nf4", False),
        ("nf4, 512 tokens at once, checkpointed", few, "nf4", True),
    ]
    cells = [["model", *(f"a card of {size} GB" for size in CARDS)]]
    for name, shapes in MODELS.items():
        line = [name]
        for size in CARDS:
            fitting = (
                words
                for words, at_once, dtype, checkpointing in settings
                if shapes.training_bytes(at_once, dtype, checkpointing=checkpointing) <= SPARE * size * GB
            )
            line.append(next(fitting, "does not fit"))
        cells.append(line)
    return cells


def time_cells() -> Cells:
    """Training and exploring time of each model, at a sustained rate that the reader scales."""
    cells = [["model", "a step", "checkpointed", f"references of {STEPS * PAIRS:,} pairs",
              f"{VALUES} values, {STEPS:,} steps each", "a spoken token", f"exploring {CANDIDATES} candidates",
              "cache of a token", f"exploring, {ROWS} rows"]]  # fmt: skip
    tokens = Tokens.alike(PAIRS, PROMPT, RESPONSE)
    for name, shapes in MODELS.items():
        a_step, references = shapes.training_flops(tokens), STEPS * shapes.reference_flops(tokens)
        training = VALUES * (STEPS * a_step + references)
        spoken = shapes.spoken_flops(VALUES, PROMPT + SPOKEN / 2)
        exploring = CANDIDATES * PROMPTS * (SPOKEN * spoken + PROMPT * shapes.spoken_flops(VALUES, PROMPT / 2))
        cells.append(
            [
                name,
                f"{a_step / 1e12:,.0f} TFLOP",
                f"{shapes.training_flops(tokens, checkpointing=True) / 1e12:,.0f} TFLOP",
                f"{references / SUSTAINED / 3600:.1f} h",
                f"{training / SUSTAINED / 3600:.1f} h",
                f"{spoken / 1e9:.1f} GFLOP",
                f"{exploring / 1e15:.1f} PFLOP",
                f"{shapes.cache_bytes('bfloat16') / 1e6:.2f} MB",
                f"{shapes.exploring_bytes(ROWS, PROMPT + SPOKEN, VALUES, 'bfloat16') / GB:.0f} GB",
            ]
        )
    return cells


def markdown(cells: Cells) -> str:
    """Write a table, whose first line of cells is its head."""
    head, *lines = ["| " + " | ".join(line) + " |" for line in cells]
    return "\n".join([head, "|---" * len(cells[0]) + "|", *lines])


def tables() -> str:
    """Write what stands between the marks of docs/scaling.md."""
    parts = [
        f"### Memory of a training\n\n{markdown(memory_cells())}",
        f"### The least to set\n\n{markdown(key_cells())}",
        f"### Time\n\n{markdown(time_cells())}",
    ]
    return "\n\n".join(parts)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/scaling.md")
    if parser.parse_args().write:
        before, _, rest = DOCS.read_text().partition(BEGIN)
        write_text(DOCS, f"{before}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}")
    else:
        print(tables())


if __name__ == "__main__":
    main()

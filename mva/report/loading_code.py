"""How an export is loaded elsewhere, as Markdown with code that runs in the export's folder."""

import re
from collections.abc import Iterator
from textwrap import dedent

from mva.models.sources.published import Published


def loading_section(base: Published, form: str, *, dtype: str) -> str:
    """Write the ways to load an export; the first block gives exactly the model that was scored."""
    parts = _of_model(dtype) if form == "merged" else _of_adapter(base, dtype)
    return "\n\n".join(parts)


def _of_model(dtype: str) -> Iterator[str]:
    yield _block(
        f"""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = "."  # this folder
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.{dtype})
        tokenizer = AutoTokenizer.from_pretrained(folder)
        """
    )


def _of_adapter(base: Published, dtype: str) -> Iterator[str]:
    if base.code is not None:
        yield "On the weights of the run (needs mva):"
        yield _fenced(
            f"{base.code.replace('torch.float32', f'torch.{dtype}')}\n\n"
            "from peft import PeftModel\n\n"
            'folder = "."  # this folder\n'
            "model = PeftModel.from_pretrained(model, folder)"
        )
        if base.name is not None:
            yield "On the weights of the hub:"
    if base.name is not None:
        revision = f", revision={base.revision!r}" if base.revision else ""
        yield _block(
            f"""
            import torch
            from peft import AutoPeftModelForCausalLM
            from transformers import AutoTokenizer

            folder = "."  # this folder
            model = AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.{dtype})
            tokenizer = AutoTokenizer.from_pretrained({base.name!r}{revision})
            """
        )
    if base.local:
        yield (
            "The base is a folder of the machine that this was exported on. Elsewhere, copy it and change "
            "`base_model_name_or_path` in adapter_config.json (and the path in the code above) to where it lies then, "
            "or to the hub's name of the same weights."
        )


def _block(code: str) -> str:
    return _fenced(dedent(code).strip())


def _fenced(code: str) -> str:
    longest = max(map(len, re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{code}\n{fence}"

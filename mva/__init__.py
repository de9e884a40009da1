"""Multi-value alignment: decorrelated LoRA value vectors and their Pareto front (arXiv 2511.17579)."""

import logging

# Where bitsandbytes is installed (extra nf4), peft imports it, and it would say at every start, also of runs without
# a packed base, that optional kernels are missing.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

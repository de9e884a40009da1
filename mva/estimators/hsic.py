"""The paper's dependence: biased HSIC with a Gaussian kernel of fixed width (arXiv 2511.17579, Sec. 4.1).

    HSIC(x, y) = trace(K H L H) / n^2,    K_ij = exp(-||x_i - x_j||^2 / (2 sigma^2 + 1e-5)),  L alike of y

with `H = I - 1 1^T / n` (Gretton et al., 2005, up to the paper's n^2 instead of (n - 1)^2).

A known weakness, kept because it is the paper's: at LoRA's initialisation scale all distances between the
rows of A are alike, so K and L are nearly `c 1 1^T + (1 - c) I` with c = exp(-1/3) whatever the rows are, and
HSIC is nearly `(1 - c)^2 (n - 1) / n^2`. For r 16 and d 576, independent matrices give 0.0047 and identical
ones 0.0048: the number hardly sees dependence, and its gradient mostly shrinks the rows together.
`normalized_hsic` and `correlation` do not have this fault.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mva.checks import Positive, check
from mva.estimators.base import View
from mva.estimators.kernels import centre, rbf
from mva.estimators.samples import FactorRows, check_paired
from mva.fingerprint import kind


@kind("mva.estimators.hsic.HSIC")
@dataclass(frozen=True)
class HSIC:
    """Biased RBF-HSIC of paired samples; `sigma` is the kernel's width in the units of the samples.

    Never negative; 0 when one of the samples is constant. Symmetric.
    """

    sigma: Positive = 1.0

    views: ClassVar[frozenset[str]] = frozenset({"factor_rows", "update_rows", "activations"})
    default_view: ClassVar[View[Tensor]] = FactorRows("A")
    invariances: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Measure each module. Shape: `x` `(modules, n, d_x)`, `y` `(modules, n, d_y)` -> `(modules,)`.

        Raises:
            ValueError: If `x` and `y` differ in the number of samples, which are paired.
        """
        check_paired(x, y, name="HSIC")
        denominator = 2 * self.sigma**2 + 1e-5
        kernel_x, kernel_y = centre(rbf(x, denominator)), centre(rbf(y, denominator))
        return (kernel_x * kernel_y).sum(dim=(-2, -1)) / x.shape[-2] ** 2

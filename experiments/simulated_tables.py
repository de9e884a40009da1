"""Score tables with known truth: what intervals, probabilities and verdicts are held against.

A method's true scores over the box [0, 1]^k of coefficients are saturating gains with interference,

    s_k(w) = G_k (1 - exp(-r_k w_k)) / (1 - exp(-r_k)) - f_k * mean_{l != k} w_l (0.4 + 0.6 w_k),

and a seed varies G and f by 15 %, most of it in the same way for all methods. A better method has G 15 % higher and f
20 % lower. A reward is the true score plus what a prompt does to all candidates (standard deviation 1), to this method
(`own`), and to this candidate (`noise`). A run's front is chosen on `n_prompts` validation prompts and scored again on
as many others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mva.pareto.dominance import non_dominated

Floats = NDArray[np.float64]
WORLDS = 4
_SPREAD, _SHARED, _BETWEEN_VALUES = 0.15, 0.7, -0.3


@dataclass(frozen=True)
class Setting:
    """What is simulated: `levels` a coefficient (by method; the last one for all further), prompts, seeds, noise."""

    name: str
    n_prompts: int = 24
    n_seeds: int = 3
    n_values: int = 2
    levels: tuple[int, ...] = (5,)
    kind: str = "normal"
    noise: float = 0.8
    own: float = 0.0
    scale: float = 1.0
    cluster: int = 1
    samples: int = 1
    n_methods: int = 6
    n_better: int = 2

    def levels_of(self, method: int) -> int:
        """The levels of a method's coefficients."""
        return self.levels[min(method, len(self.levels) - 1)]


@dataclass(frozen=True, eq=False)
class Run:
    """One method and seed. Shape: `coefficients` `(n, k)`, `truth` `(n, k)`, rewards `(n, n_prompts, k)`.

    `front` are the row numbers chosen on validation prompts; `held_out` are the rewards of these rows alone.
    """

    coefficients: Floats
    truth: Floats
    validation: Floats
    front: NDArray[np.int64]
    held_out: Floats


@dataclass(frozen=True)
class World:
    """What gains, rates and interference a table's methods have before seeds vary them. Shape: `(k,)` each."""

    gain: Floats
    rate: Floats
    interference: Floats


def world(number: int, n_values: int) -> World:
    """One of `WORLDS` fixed worlds."""
    generator = np.random.default_rng([99, number, n_values])
    return World(
        generator.uniform(0.7, 1.3, n_values),
        generator.uniform(0.8, 3, n_values),
        generator.uniform(0.2, 0.7, n_values),
    )


def coefficients(levels: int, n_values: int) -> Floats:
    """The full grid. Shape: `(levels ** k, k)`."""
    axis = np.linspace(0, 1, levels)
    return np.stack(np.meshgrid(*[axis] * n_values, indexing="ij"), axis=-1).reshape(-1, n_values)


def true_scores(setup: World, omegas: Floats) -> Floats:
    """The formula above. Shape: `(n, k)`."""
    gains = setup.gain * (1 - np.exp(-setup.rate * omegas)) / (1 - np.exp(-setup.rate))
    others = (omegas.sum(axis=1, keepdims=True) - omegas) / max(1, omegas.shape[1] - 1)
    return np.asarray(gains - setup.interference * others * (0.4 + 0.6 * omegas))


def table(setting: Setting, number: int, generator: Generator) -> list[list[Run]]:
    """Simulate a table of methods, one list of seeds each; the last `n_better` methods are better than the first."""
    setup, k = world(number, setting.n_values), setting.n_values
    shared = generator.standard_normal((setting.n_seeds, 2, k))
    prompts = [_noise(setting, generator, 1) for _ in range(2)]
    methods = []
    for method in range(setting.n_methods):
        own = [setting.own * _noise(setting, generator, 1) for _ in range(2)]
        mixed = np.sqrt(_SHARED) * shared + np.sqrt(1 - _SHARED) * generator.standard_normal(shared.shape)
        better = method >= setting.n_methods - setting.n_better
        omegas = coefficients(setting.levels_of(method), k)
        methods.append(
            [_run(setting, varied(setup, effect, better=better), omegas, prompts, own, generator) for effect in mixed]
        )
    return methods


def varied(setup: World, effect: Floats, *, better: bool) -> World:
    """A seed's world, or a better method's. Shape: `effect` `(2, k)`, standard normal."""
    gain = setup.gain * np.exp(_SPREAD * effect[0]) * (1.15 if better else 1)
    return World(gain, setup.rate, setup.interference * np.exp(_SPREAD * effect[1]) * (0.8 if better else 1))


def true_fronts(setting: Setting, number: int, method: int, *, draws: int = 300) -> Iterator[Floats]:
    """True scores of the fronts that a method hands over, seed after seed: what its mean indicator is the mean of."""
    generator = np.random.default_rng([7, number, method])
    setup, better = world(number, setting.n_values), method >= setting.n_methods - setting.n_better
    omegas = coefficients(setting.levels_of(method), setting.n_values)
    for _ in range(draws):
        effect = generator.standard_normal((2, setting.n_values))
        prompts = [_noise(setting, generator, 1), np.zeros((1, 1, 1))]
        run = _run(setting, varied(setup, effect, better=better), omegas, prompts, prompts[1:] * 2, generator)
        yield run.truth[run.front]


def _run(
    setting: Setting,
    setup: World,
    omegas: Floats,
    prompts: Sequence[Floats],
    own: Sequence[Floats],
    generator: Generator,
) -> Run:
    truth = setting.scale * true_scores(setup, omegas)
    alone = [setting.noise * _noise(setting, generator, len(omegas)) for _ in range(2)]
    validation = truth[:, None] + prompts[0] + own[0] + alone[0]
    front = np.flatnonzero(non_dominated(validation.mean(axis=1)))
    held_out = (truth[:, None] + prompts[1] + own[1] + alone[1])[front]
    return Run(omegas, truth, validation, front, held_out)


def _noise(setting: Setting, generator: Generator, rows: int) -> Floats:
    """Standard noise, correlated between values. Shape: `(rows, n_prompts, k)`."""
    shape = (rows, setting.n_prompts // setting.cluster, setting.n_values)
    correlation = np.full((setting.n_values, setting.n_values), _BETWEEN_VALUES / max(1, setting.n_values - 1))
    np.fill_diagonal(correlation, 1.0)
    mixed = _standard(setting.kind, generator, shape) @ np.linalg.cholesky(correlation).T
    whole = np.repeat(mixed, setting.cluster, axis=1)
    if rows > 1 or setting.cluster > 1:
        # Half of what a prompt does to a candidate is decoding: samples average it, and clusters do not share it.
        decoding = _standard(setting.kind, generator, (rows, setting.n_prompts, setting.n_values))
        return np.asarray(np.sqrt(0.5) * whole + np.sqrt(0.5 / setting.samples) * decoding)
    return np.asarray(whole)


def _standard(kind: str, generator: Generator, shape: tuple[int, ...]) -> Floats:
    """Noise of mean 0 and variance 1: normal, skewed (exponential), or with heavy tails (Student's t, 5 degrees)."""
    if kind == "skewed":
        return generator.standard_exponential(shape) - 1
    if kind == "heavy":
        return generator.standard_t(5, shape) * np.sqrt(3 / 5)
    return generator.standard_normal(shape)

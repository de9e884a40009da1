"""What a run or a sweep can tell, as tables and sentences for a terminal of 80 columns (mva-power)."""

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mva.analysis.facets import settings_of
from mva.analysis.run_power import RunPower
from mva.analysis.sweep_power import SettingPower, Step, SweepPower
from mva.runs.run_folder import RunFiles
from mva.runs.sweep_folder import Job
from mva.shell import command_line, override

SEED = "seed"
_NONE = "no number"
_APPS = {"run": "mva", "explore": "mva-explore"}


def run_words(run: RunFiles, power: RunPower, *, minutes: float) -> RenderableType:
    """Lay out what a run's candidates and its front need."""
    title = f"Two of the {power.n_candidates} candidates, on {power.n_prompts} validation prompts"
    table = _table(title, "score", "to detect", "detects\nnow", "shared", "prompts\nneeded", "time", "off the\nsurface")
    for score in power.scores:
        for samples, prompts in score.prompts.items():
            table.add_row(
                escape(score.value) + (f"\n{samples} samples" if samples > 1 else ""),
                f"{score.difference:.3g}",
                f"{score.detectable(power.n_prompts):.3g}",
                f"{score.shared:.0%}",
                _number(prompts),
                "-" if prompts is None else time_words(score.seconds[samples]),
                "-" if prompts is None or score.worth is None else f"about {prompts / score.worth:,.0f}",
            )
    parts: list[RenderableType] = [table, *_run_sentences(power)]
    return Group(*parts, *_next_of_run(run, power, minutes))


def _run_sentences(power: RunPower) -> Iterator[str]:
    yield (
        f"To detect: {power.share:.0%} of a score's standard deviation over prompts, with a probability of 80 %. "
        "Detects now: the smallest difference that today's prompts detect. Shared: what a prompt does to both."
    )
    decoding = {score.value: score.decoding for score in power.scores if score.decoding is not None}
    if decoding:
        shares = ", ".join(f"{escape(value)} {share:.0%}" for value, share in decoding.items())
        yield f"Of a difference's variance decoding is, with {power.n_samples} samples a prompt: {shares}."
    else:
        yield "Prompts and decoding are one term: a run with evaluation.samples=2 tells them apart."
    volume = power.hypervolume
    if volume is not None:
        yield (
            f"Hypervolume of the front on {volume.n_prompts} held-out prompts: {volume.estimate:.3g} "
            f"({volume.low:.3g} to {volume.high:.3g}). Another run's, {power.share:.0%} apart, takes "
            f"{_number(power.hypervolume_prompts)} prompts if the two share nothing, fewer if they do: a sweep shows."
        )
    if power.per_cluster > 1:
        yield _cluster_words(power.per_cluster)
    if power.there is not None:
        yield f"The data has at most {power.there:,} validation prompts."
    costs = power.costs
    yield (
        f"Here a response takes {costs.response:.2g} s, a start without training {time_words(costs.start)}, "
        f"a seed's vectors {time_words(costs.training)}. No seed's part is known of a single run."
    )


def _next_of_run(run: RunFiles, power: RunPower, minutes: float) -> Iterator[RenderableType]:
    prompts = power.affordable(60 * minutes)
    if prompts <= power.n_prompts:
        yield f"{minutes:g} minutes, or the data, are not enough for more than {power.n_prompts} prompts."
        return
    sizes = ", ".join(f"{escape(score.value)} {score.detectable(prompts):.3g}" for score in power.scores)
    yield f"{minutes:g} minutes are enough for {prompts} validation prompts, which detect differences of: {sizes}."
    explored = [
        "mva-explore",
        override("run", str(run.folder)),
        f"evaluation.n_validation_prompts={round(prompts * power.per_cluster)}",
    ]
    yield _command(explored)


def sweep_words(power: SweepPower, jobs: tuple[Job, ...], *, minutes: float) -> RenderableType:
    """Lay out where the variance of a sweep's differences comes from, what decides them, and the next step."""
    first = escape(power.first or "the first setting")
    title = f"Hypervolume on {power.n_prompts} held-out prompts, {power.n_seeds} seeds, less that of {first}"
    table = _table(
        title, "setting", "difference\n95 % interval", "detects\nnow", "prompts", "or\nseeds", "cheapest plan"
    )
    sources = _table("Standard errors by source", "setting", "prompts", "prompts in\na seed", "seeds", "shared")
    for setting in power.settings:
        interval, variance = setting.difference.interval, setting.variance
        label = escape(_short(setting.label, power.first))
        table.add_row(
            label,
            f"{interval.estimate:+.2g}\n{interval.low:.2g} to {interval.high:.2g}\n{setting.difference.verdict.word}",
            f"{setting.detectable:.2g}",
            _number(setting.needs.prompts),
            _number(setting.needs.seeds) if power.n_seeds > 1 else "-",
            _plan_words(setting),
        )
        sources.add_row(
            label,
            f"{variance.prompts**0.5:.2g}",
            f"{variance.interaction**0.5:.2g}" if power.n_seeds > 1 else "-",
            f"{max(variance.seeds, 0.0) ** 0.5:.2g}" if power.n_seeds > 1 else "-",
            f"{setting.shared:.0%}",
        )
    return Group(table, sources, *_sweep_sentences(power), *_steps(power, jobs, minutes))


def _sweep_sentences(power: SweepPower) -> Iterator[str]:
    yield (
        f"Prompts, seeds, plan: what detects a difference of {power.difference:.3g} with a probability of 80 %; the "
        "plan's time is what it adds for the two settings. Detects now: the smallest difference that today's numbers "
        "detect. "
        "Shared: the share of what prompts do that drops out of the difference. Prompts and decoding are one term."
    )
    if power.n_seeds == 1:
        yield "One seed: no interval says what training anew would change, and no plan can count seeds."
    if power.budget.per_cluster > 1:
        yield _cluster_words(power.budget.per_cluster)
    if power.budget.there is not None:
        yield f"The data has at most {power.budget.there:,} held-out prompts."
    for label in power.unlike:
        yield f"{escape(label)} has other seeds than the first setting: it is not compared."


def _steps(power: SweepPower, jobs: tuple[Job, ...], minutes: float) -> Iterator[RenderableType]:
    if not any(setting.undecided for setting in power.settings):
        yield "Every difference is decided: nothing needs more time."
        return
    if not power.steps:
        yield f"{minutes:g} minutes are too short for any step."
        if power.cheapest is not None:
            yield f"The shortest: {_step_words(power, power.cheapest)}"
        return
    best, *others = power.steps
    yield f"The next {minutes:g} minutes are best spent on {_step_words(power, best)}"
    if words := _step_command(power, best, jobs):
        yield _command(words)
    for step in others:
        yield f"Instead: {_step_words(power, step)}"


def _step_words(power: SweepPower, step: Step) -> str:
    what = (
        f"{step.prompts} held-out prompts instead of {power.n_prompts}"
        if step.prompts > power.n_prompts
        else f"{step.seeds} seeds instead of {power.n_seeds}"
    )
    everything = len(step.settings) > len(power.settings)
    whom = "all settings" if everything else f"the pair nearest to a decision ({escape(' and '.join(step.settings))})"
    return f"{what} for {whom}: {time_words(step.seconds)}, decides {step.expected:.2g} open differences on average."


def _step_command(power: SweepPower, step: Step, jobs: tuple[Job, ...]) -> list[str]:
    """The multirun that takes a step for all settings; empty where its words can't be told from the jobs."""
    settings = [settings_of(job) for job in jobs]
    keys = dict.fromkeys(key for choices in settings for key in choices)
    swept = {key: list(dict.fromkeys(choices.get(key, "") for choices in settings)) for key in keys}
    product = 1
    for choices in swept.values():
        product *= len(choices)
    command = _APPS.get(jobs[0].outcome.command)
    if command is None or product != len(jobs) or len(step.settings) <= len(power.settings):
        return []
    if step.seeds > power.n_seeds and all(seed.isdecimal() for seed in swept.get(SEED, ["-"])):
        seeds = [int(seed) for seed in swept[SEED]]
        following = range(max(seeds) + 1, max(seeds) + 1 + step.seeds - power.n_seeds)
        swept[SEED] += [str(seed) for seed in following]
    elif step.seeds > power.n_seeds:
        return []
    prompts = round(step.prompts * power.budget.per_cluster)
    more = [f"evaluation.n_test_prompts={prompts}"] if step.prompts > power.n_prompts else []
    repeated = {key: choices for key, choices in swept.items() if key != "evaluation.n_test_prompts" or not more}
    return [command, "-m", *(f"{key}={','.join(choices)}" for key, choices in repeated.items()), *more]


def _plan_words(setting: SettingPower) -> str:
    plan = setting.plan
    if plan is None:
        return "none"
    seeds = f"{plan.seeds} seeds\n" if setting.variance.n_seeds > 1 else ""
    return f"{plan.prompts:,} prompts\n{seeds}{time_words(plan.seconds)}"


def time_words(seconds: float) -> str:
    """Say a time: seconds, minutes, or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def _short(label: str, first: str) -> str:
    """Leave out the key that a label shares with the first one's: beside `method=mva`, `method=ties` is `ties`."""
    key, equals, choice = label.partition("=")
    return choice if equals and "," not in label and first.startswith(f"{key}=") else label


def _cluster_words(per_cluster: float) -> str:
    return f"Prompts come in clusters of {per_cluster:.2g}: all numbers of prompts count clusters, but in commands."


def _number(number: int | None) -> str:
    return _NONE if number is None else f"{number:,}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _command(words: list[str]) -> Text:
    return Text(f"  {command_line(words)}", no_wrap=True, overflow="ignore")

"""Runs the jobs of a multirun in parallel on one machine: each job is a separate process in one of a few slots.

A slot is a GPU (and its share of the cores), or on a machine without any a share of the cores. A process sees the GPU
of its slot alone, from before torch is imported, and gives back all of its memory when its job ends. A job that is
killed takes no other with it.
"""

import math
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from omegaconf import open_dict

from mva.checks import Count, check_one
from mva.models.backbone import visible_gpus
from mva.runs.sweep_folder import OUTCOME, read_outcome
from mva.terminal import Console

_CPU_THREADS = 4  # of a job, where neither slots nor threads are given and there is no GPU
_PATIENCE = 30.0  # seconds in which a job that is told to stop may tidy up
_TERMINATED = 143
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Job:
    """One job: its number in the multirun, its overrides, and all that runs it as bytes of this program's own."""

    number: int
    overrides: Sequence[str]
    payload: bytes


@dataclass(frozen=True)
class _Running:
    job: Job
    slot: Mapping[str, str]
    process: BaseProcess
    answer: Connection


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], first_number: int) -> list[JobReturn]:
    """Run the jobs of a multirun for `hydra/launcher=gpus`; returns how each ended, in their order.

    Raises:
        BadSetting: If `slots` or `threads` is no count.
    """
    setup_globals()
    hydra = launcher.config.hydra
    configure_log(hydra.hydra_logging, hydra.verbose)
    for name in ("slots", "threads"):
        check_one(f"hydra.launcher.{name}", getattr(launcher, name), Count | None)
    Path(str(hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    slots = slots_of(launcher.slots, launcher.threads, gpus=visible_gpus(), cores=len(os.sched_getaffinity(0)))
    jobs = []
    for number, overrides in enumerate(job_overrides, start=first_number):
        parts = (number, list(overrides), launcher.hydra_context, launcher.config, launcher.task_function)
        jobs.append(Job(number, overrides, cloudpickle.dumps((*parts, Singleton.get_state()))))
    line = f"{len(jobs)} jobs, {min(len(slots), len(jobs))} at a time."
    Console(stderr=True).print(line, markup=False, highlight=False)
    return run_in_slots(jobs, slots, sweep=Path(str(hydra.sweep.dir)))


def slots_of(slots: int | None, threads: int | None, *, gpus: Sequence[str], cores: int) -> list[dict[str, str]]:
    """Share GPUs and cores out; returns the environment variables of each slot."""
    n_slots = slots or len(gpus) or max(1, cores // (threads or _CPU_THREADS))
    n_threads = threads or max(1, cores // n_slots)
    shared = {name: str(n_threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
    if not gpus:
        return [dict(shared) for _ in range(n_slots)]
    return [{**shared, "CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} for slot in range(n_slots)]


def run_in_slots(jobs: Sequence[Job], slots: Sequence[Mapping[str, str]], *, sweep: Path) -> list[JobReturn]:
    """Run each job in the first slot that is free. Whatever ends this ends the jobs that still run."""
    waiting, free, returns = deque(jobs), deque(slots), dict[int, JobReturn]()
    running = dict[Any, _Running]()
    try:
        while waiting or running:
            while waiting and free:
                started = _start(waiting.popleft(), free.popleft())
                running[started.answer] = started
            for answer in wait(list(running)):
                ended = running.pop(answer)
                returns[ended.job.number] = _returned(ended, sweep)
                free.append(ended.slot)
    finally:
        _stop([job.process for job in running.values()])
    return [returns[job.number] for job in jobs]


def _start(job: Job, slot: Mapping[str, str]) -> _Running:
    answer, write = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_run, args=(job.payload, write), name=f"job {job.number}")
    with _environment(slot):
        process.start()
    write.close()  # so that the end of the process is the end of the pipe
    return _Running(job, slot, process, answer)


def _returned(ended: _Running, sweep: Path) -> JobReturn:
    """Receive what a job returned; one that died without a word gets a sentence, and counts as failed."""
    try:
        returned: JobReturn = cloudpickle.loads(ended.answer.recv_bytes())
    except EOFError:
        ended.process.join()
        return _died(ended, sweep)
    ended.process.join()
    return returned


def _died(ended: _Running, sweep: Path) -> JobReturn:
    code, label = ended.process.exitcode or 0, " ".join(ended.job.overrides)
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with the status {code}"
    sentence = f"The job's process {how}: start the command again with hydra.sweep.dir={sweep} to go on."
    Console(stderr=True).print(f"Failed: {label}: {sentence}", markup=False, highlight=False, style="red")
    for path in sweep.rglob(OUTCOME):
        outcome = read_outcome(path.parent)
        if outcome is not None and outcome.number == ended.job.number and outcome.state == "running":
            replace(outcome, state="failed", error=sentence).write(path.parent)
            return JobReturn(list(ended.job.overrides), status=JobStatus.COMPLETED, _return_value=math.nan)
    return JobReturn(list(ended.job.overrides), status=JobStatus.FAILED, _return_value=ChildProcessError(sentence))


def _stop(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_PATIENCE)
        process.kill()
        process.join()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set what a process that is started inside the `with` finds in its environment."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, setting in before.items():
            if setting is None:
                del os.environ[name]
            else:
                os.environ[name] = setting


def _run(payload: bytes, answer: Connection) -> None:
    """Run a job, in its own process."""
    signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_end_with_the_multirun, daemon=True).start()
    with suppress(KeyboardInterrupt):  # the multirun says it once for all jobs
        number, overrides, context, config, task, state = cloudpickle.loads(payload)
        setup_globals()
        Singleton.set_state(state)
        sweep_config = context.config_loader.load_sweep_config(config, overrides)
        with open_dict(sweep_config):
            sweep_config.hydra.job.id = f"{sweep_config.hydra.job.name}_{number}"
            sweep_config.hydra.job.num = number
        HydraConfig.instance().set_config(sweep_config)
        returned = run_job(
            hydra_context=context,
            config=sweep_config,
            task_function=task,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        answer.send_bytes(cloudpickle.dumps(returned))
        return
    sys.exit(130)


def _end_with_the_multirun() -> None:
    """Stop the job when the process that started it is gone: nobody would end it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _terminate(_signal: int, _frame: object) -> NoReturn:
    sys.exit(_TERMINATED)

"""Searches for hyper-parameters (hparams=NAME): Optuna draws the trials, attnlab's launchers run them.

The records are the memory of a search: the sampler's seed is fixed, and a trial that is recorded returns its recorded
value. So the same command draws the same trials again, and goes on where it stopped. A trial that fails counts as
failed, and the search goes on. Only validation images and costs decide; no test image does.

(Not hydra-optuna-sweeper, whose release 1.3 needs Optuna 2.)
"""

import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from attnlab.configuration.identity import science
from attnlab.configuration.messages import unknown_choice
from attnlab.configuration.schema import OBJECTIVES
from attnlab.configuration.sweep_arguments import of_jobs
from attnlab.errors import ConfigError
from attnlab.launch.job import reasons_of
from attnlab.launch.objective import run_of
from attnlab.launch.search_results import REASON, REPEATED, RUN, drawn, file_of, result, smallest, write_trials
from attnlab.launch.search_space import Space, read_space

#: with n_jobs=null; a constant, so that a search is the same on every machine
TRIALS_AT_A_TIME = 4
#: name -> its class in optuna.samplers
SAMPLERS = {
    "tpe": "TPESampler", "random": "RandomSampler", "nsgaii": "NSGAIISampler", "gp": "GPSampler", "qmc": "QMCSampler",
}  # fmt: skip
AT_THE_START = "only validation images and costs decide, no test image"
MOST_DRAWS = 20  # of one trial, while they give points that have failed


class SearchSweeper(Sweeper):
    """Draws trials, `n_jobs` at a time, has a launcher run them, and tells Optuna their values.

    The arguments are those of conf/hydra/sweeper/search.yaml.
    Exits with status 1 if no trial finished, or if a trial's record is refused; the launcher has printed why.
    """

    def __init__(
        self, params: DictConfig, n_trials: int, n_jobs: int | None, sampler: str, seed: int, storage: str | None,
        study_name: str | None, arguments: Sequence[str],
    ) -> None:  # fmt: skip
        if not find_spec("optuna"):
            raise ConfigError("missing package optuna, which hparams=NAME needs; install attnlab[optuna]")
        if sampler not in SAMPLERS:
            raise ConfigError(unknown_choice("hydra.sweeper.sampler", sampler, SAMPLERS))
        if type(n_trials) is not int or n_trials < 1:
            raise ConfigError(f"wrong value hydra.sweeper.n_trials={n_trials}; allowed is an integer from 1")
        self.params = {str(key): text for key, text in params.items()}
        self.n_trials, self.at_a_time = n_trials, n_jobs or TRIALS_AT_A_TIME
        self.sampler, self.seed, self.storage, self.study_name = sampler, seed, storage, study_name
        self.job_arguments = list(arguments)
        self.failed: set[tuple[str, ...]] = set()  # points

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher."""
        from attnlab.launch.other_launchers import planned

        if OmegaConf.select(config, "table.rows") is not None:
            table, search = (config.hydra.runtime.choices[name] for name in ("table", "hparams"))
            raise ConfigError(
                f"hparams={search} with table={table}: the table decides what runs; remove one of the two"
            )
        objective = config.get("objective") or OBJECTIVES[0]
        self.composed = config
        self.objectives = [objective] if isinstance(objective, str) else list(objective)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self.launcher: Any = planned(launcher, hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials, then print the best one, or the Pareto front of several objectives."""
        space = read_space(self.params, [*arguments, *of_jobs(self.job_arguments)])
        self.launcher.searched = list(space.distributions)
        print(f"search: {self.n_trials} trials, smallest {' and '.join(self.objectives)}; {AT_THE_START}", flush=True)
        study = self._study()
        if self.composed.dry_run:
            trials = [study.ask(space.distributions) for _ in range(min(self.at_a_time, self.n_trials))]
            self.launcher.launch([_overrides(trial, space.fixed) for trial in trials], initial_job_idx=0)
            print(f"dry run: the first {len(trials)} of {self.n_trials} trials; their values decide on the others")
            if self.launcher.failed:
                sys.exit(1)
            return
        finished = done = 0
        while done < self.n_trials:
            trials = self._draw(study, space, min(self.at_a_time, self.n_trials - done))
            finished += self._run(study, trials, space.fixed, done)
            done += len(trials)
            best = f"; smallest {smallest(study, self.objectives)}" if finished else ""
            print(f"search: {done} of {self.n_trials} trials, {done - finished} failed{best}", flush=True)
        path = self._file(space)
        write_trials(study, self.objectives, path)
        print(f"all trials: {path}", flush=True)
        if failed := [job for job in self.launcher.jobs if job.state == "failed"]:
            heading = f"attnlab: {done - finished} of {done} trials failed; the same command tries them again"
            print(heading, *reasons_of(failed), sep="\n", file=sys.stderr, flush=True)
        if not finished:
            print(f"attnlab: none of the search's {done} trials finished", file=sys.stderr, flush=True)
            sys.exit(1)
        print("\n".join(result(study, self.objectives)), flush=True)

    def _study(self) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():  # qmc: Optuna may still change its interface, which we do not show
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = getattr(optuna.samplers, SAMPLERS[self.sampler])(seed=self.seed)
        return optuna.create_study(
            sampler=sampler,
            directions=["minimize"] * len(self.objectives),
            storage=None if self.composed.dry_run else self.storage,
            study_name=self.study_name,
            load_if_exists=True,
        )

    def _draw(self, study: Any, space: Space, number: int) -> list[Any]:
        """The next trials. A point that has failed in this search is drawn again only if MOST_DRAWS draws give no
        other: Optuna learns nothing from a failure."""
        from optuna.trial import TrialState

        trials = []
        for _ in range(number):
            for _ in range(MOST_DRAWS):
                trial = study.ask(space.distributions)
                if tuple(drawn(trial)) not in self.failed:
                    break
                trial.set_user_attr(REPEATED, True)
                study.tell(trial, state=TrialState.FAIL)
            else:
                trial = study.ask(space.distributions)
            trials.append(trial)
        return trials

    def _run(self, study: Any, trials: Sequence[Any], fixed: Sequence[str], first: int) -> int:
        """Run some trials and tell their values; returns how many finished. first: the number of the first one."""
        from optuna.trial import TrialState

        returned = self.launcher.launch([_overrides(trial, fixed) for trial in trials], initial_job_idx=first)
        if self.launcher.refused:
            sys.exit(1)
        values = [one.return_value for one in returned]
        reasons = {job.id: job.reason for job in self.launcher.jobs}
        for trial, one, value in zip(trials, returned, values, strict=True):
            run = run_of(one)
            trial.set_user_attr(RUN, run)
            if value is None:
                self.failed.add(tuple(drawn(trial)))
                trial.set_user_attr(REASON, reasons.get(run, ""))
                study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, value)
        return sum(value is not None for value in values)

    def _file(self, space: Space) -> Path:
        """The file of this search; another search has another one, and more trials of this one have the same."""
        config = self.composed
        of_runs = science(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]))
        distributions = {key: str(item) for key, item in space.distributions.items()}
        fixed = {
            "objectives": self.objectives, "space": distributions, "runs": of_runs,
            "arguments": of_jobs(self.job_arguments), "sampler": [self.sampler, self.seed, self.at_a_time],
        }  # fmt: skip
        return file_of(config.output_dir, config.hydra.runtime.choices["hparams"], fixed)


def _overrides(trial: Any, fixed: Sequence[str]) -> list[str]:
    """All overrides of a trial's run. hydra.mode: the further ranks of a DDP job repeat them, and are no search."""
    return [*drawn(trial), *fixed, "hydra.mode=RUN"]

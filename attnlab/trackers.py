"""Trackers: where a run's curves go besides its own log.csv. W&B, online or offline, TensorBoard, or nowhere.

W&B starts in a thread, beside the build of the network; each run is its own W&B run under attnlab's run id.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from attnlab.errors import ConfigError
from attnlab.identity import cell, name_of

TRACKERS = ("csv", "tensorboard", "wandb")
MODES = ("online", "offline")
TIMEOUT = 30  # seconds for W&B's server to answer before the run goes offline


class Tracker:
    """Opens the configured loggers in the background; `loggers` waits for them, `finish` closes them.

    values: the run's config;  run: its id;  config: what the tracker keeps of it (no paths);  folder: for its files.
    Raises ConfigError for a tracker that does not exist.
    """

    def __init__(self, values: Mapping[str, Any], run: str, config: Mapping[str, Any], folder: Path) -> None:
        self.settings = dict(values["tracker"])
        self.run, self.values, self.config, self.folder = run, values, config, folder
        name, mode = self.settings.get("name"), self.settings.get("mode", "offline")
        if name not in TRACKERS:
            raise ConfigError(f"tracker.name={name}: allowed are {', '.join(TRACKERS)}")
        if mode not in MODES:
            raise ConfigError(f"tracker.mode={mode}: allowed are {', '.join(MODES)}")
        self._opening: Future[list[Logger]] | None = None
        self._opened: list[Logger] = []
        if name != "csv":
            pool = ThreadPoolExecutor(1, thread_name_prefix="tracker")
            self._opening = pool.submit(self._tensorboard if name == "tensorboard" else self._wandb)
            pool.shutdown(wait=False)

    def loggers(self) -> list[Logger]:
        """The loggers, once they are open."""
        if self._opening is not None:
            self._opened, self._opening = self._opening.result(), None
        return self._opened

    def finish(self, exit_code: int) -> None:
        """Close every logger; W&B shows a run whose exit code is not 0 as failed."""
        for logger in self.loggers():
            if isinstance(logger, WandbLogger) and getattr(rank_zero_only, "rank", 0) == 0:
                logger.experiment.finish(exit_code=exit_code)
            elif exit_code:
                logger.finalize("failed")

    def _tensorboard(self) -> list[Logger]:
        try:
            return [TensorBoardLogger(self.folder, name=None, version="tensorboard", default_hp_metric=False)]
        except ModuleNotFoundError as error:
            raise ConfigError("tracker=tensorboard: needs the package tensorboard (attnlab[tensorboard])") from error

    def _wandb(self) -> list[Logger]:
        if getattr(rank_zero_only, "rank", 0) != 0:
            return [WandbLogger(id=self.run)]  # a dummy; rank 0 has the run
        mode = self.settings["mode"]
        if mode == "online" and not _has_key():
            print("W&B: no login found (`wandb login`, or WANDB_API_KEY); this run is kept offline", flush=True)
            mode = "offline"
        try:
            return [self._start(mode)]
        except Exception as error:
            if mode == "offline":
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"W&B: the server cannot be used ({reason}); this run is kept offline", flush=True)
            return [self._start("offline")]

    def _start(self, mode: Literal["online", "offline"]) -> WandbLogger:
        import wandb

        sections = ("dataset", "model", "attention", "head", "recipe")
        names = {section: name_of(section, self.values[section], self.values) for section in sections}
        tags = [f"{section}={names[section]}"[:64] for section in ("dataset", "model", "attention")]
        tags += [f"table={self.values['table']}"[:64]] if self.values.get("table") else []
        group = f"{' '.join(names[s] for s in ('dataset', 'model', 'attention', 'recipe'))}"[:110]
        run = wandb.init(
            project=self.settings["project"],
            entity=self.settings["entity"],
            id=self.run,
            name=f"{names['attention']} seed={self.values['seed']}"[:120],
            group=f"{group} {cell(self.values)}",
            job_type="train",
            tags=tags + list(self.settings["tags"]),
            config=dict(self.config),
            dir=str(self.folder),
            mode=mode,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", init_timeout=TIMEOUT),
        )
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return WandbLogger(experiment=run)


def _has_key() -> bool:
    import wandb

    try:
        return bool(wandb.login(prompt=False))
    except Exception:  # a malformed key raises here; the run is then kept offline
        return False

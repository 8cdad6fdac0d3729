"""A logger whose calls run in a thread: a step that logs waits neither for a tracker's start nor for a server."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

#: logs a PNG file with a logger: (logger, name of the picture, file, step)
LogPicture = Callable[[Any, str, Path, int], None]


class ThreadedLogger(Logger):
    """Passes every call, in order, to the logger that `opening` gives, in the tracker's thread."""

    def __init__(self, thread: ThreadPoolExecutor, opening: Future[Logger], picture: LogPicture) -> None:
        super().__init__()
        self._thread, self._opening, self._picture = thread, opening, picture
        self.calls: list[Future[None]] = []

    @property
    def name(self) -> str | None:
        return None

    @property
    def version(self) -> int | str | None:
        return None

    def _later(self, call: Callable[[Logger], None]) -> None:
        self.calls.append(self._thread.submit(lambda: call(self._opening.result())))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        kept = dict(metrics)
        self._later(lambda logger: logger.log_metrics(kept, step))

    def log_picture(self, name: str, path: Path, step: int) -> None:
        """Log a PNG file beside the curves."""
        self._later(lambda logger: self._picture(logger, name, path, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the tracker gets the config when it starts."""

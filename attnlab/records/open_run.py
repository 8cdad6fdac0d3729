"""Everything around the training of one run: its lock, a record that is already there, a trial's folder, error.json."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from attnlab.configuration.compose import Checked
from attnlab.configuration.identity import run_id
from attnlab.configuration.run_name import run_name, title_of
from attnlab.errors import AttnlabError, ConfigError, DataError, TrainingError
from attnlab.machine import terminal
from attnlab.machine.ranks import is_first
from attnlab.records.agreement import leave_reason, trial_folder
from attnlab.records.provenance import MadeBy, doubts, doubts_and_remedies, read_made_by, recorded_line
from attnlab.records.record import Record, fault, read_record
from attnlab.records.run_folder import FolderState, make_writable, print_once, write_error

#: characters of the longest line about a run, that of an epoch, without the run's title
EPOCH_LINE = 70


@dataclass
class OpenRun:
    """A run that this process may train, or, with a `record`, one that is already finished.

    values: its config; a trial's is shortened.  title: its name and id, for messages.  state: what its folder held
    before.
    """

    id: str
    values: Checked
    folder: Path
    made_by: MadeBy
    title: str
    state: FolderState | None = None
    record: Record | None = None

    @property
    def is_trial(self) -> bool:
        """Whether machine.batches cuts the run short; it then leaves no record."""
        return self.values["machine"]["batches"] is not None

    def put_aside(self) -> None:
        """Put aside what an earlier start left in the folder; the first rank does it."""
        if is_first() and self.state is not None:
            self.state.put_aside()

    def leave_error(self, reason: str) -> None:
        """Write error.json when this process must end without an exception of its own."""
        if not self.is_trial and read_record(self.folder) is None:
            write_error(self.folder, self.id, self.values, TrainingError(reason))


@contextmanager
def open_run(values: Checked, name: str | None = None) -> Iterator[OpenRun]:
    """Open OUTPUT_DIR/<id> for one start of a run, hold its lock, and tidy up after a failure.

    name: what messages call the run; None: its attention, model, dataset and seed.

    A trial (machine.batches) gets a temporary folder. force=true puts an old run aside. When the body raises before a
    checkpoint was written, a ConfigError or DataError leaves the folder as it was, and force=true brings the old run
    back; any other failure leaves error.json.
    Raises ConfigError for a record that cannot be used and AttnlabError when another process trains the run.
    """
    run, output_dir = run_id(values), values["output_dir"]
    title = _title(values, run, name)
    made_by = read_made_by(values)  # first, because files may be edited or committed while the run starts
    folder = Path(output_dir) / run
    if values["machine"]["batches"] is not None:
        with trial_folder(run, output_dir) as trial:
            print_once(f"{title}: machine.batches={values['machine']['batches']}: a trial, which leaves no record")
            yield OpenRun(run, _trial_config(values), trial, made_by, title, FolderState(trial, title))
        return
    if record := _finished(values, folder, title):
        yield OpenRun(run, values, folder, made_by, title, record=record)
        return
    is_new = not folder.exists()
    make_writable(folder, output_dir)
    with _locked(folder, title):
        if record := _finished(values, folder, title):  # by a process that held the lock until now
            yield OpenRun(run, values, folder, made_by, title, record=record)
            return
        opened = OpenRun(run, values, folder, made_by, title, FolderState(folder, title))
        if values["force"]:
            opened.put_aside()
        try:
            yield opened
        except BaseException as error:
            leave_reason(error, output_dir)
            if is_first() and read_record(folder) is None:  # an error after the record was written changes nothing
                _tidy_up(opened, error, is_new=is_new)
            raise


def _title(values: Checked, run: str, name: str | None) -> str:
    """What the lines of a run call it: its name and its id, or its name alone where the terminal is narrow."""
    width = terminal.width()
    room = None if width is None else max(0, width - EPOCH_LINE)
    return title_of(name or run_name(values, room), run, room)


def _tidy_up(run: OpenRun, error: BaseException, *, is_new: bool) -> None:
    """Leave the folder of a failed start. is_new: this start has made it."""
    assert run.state is not None
    trained = (run.folder / "last.ckpt").exists()
    if trained or (run.state.aside is None and not isinstance(error, ConfigError | DataError)):
        write_error(run.folder, run.id, run.values, error)
        return
    run.state.restore()
    if is_new:
        (run.folder / "lock").unlink(missing_ok=True)
        run.folder.rmdir()


def _finished(values: Checked, folder: Path, title: str) -> Record | None:
    """The run's record, or None where there is none or force=true.

    Raises ConfigError for a record that was edited, or that other code has made, unless code=recorded accepts it.
    """
    record = None if values["force"] else read_record(folder)
    if record is None:
        return None
    if reason := fault(record, folder.name):
        raise ConfigError(f"{folder.name}/result.json {reason}; force=true puts it aside and runs anew")
    if values.get("code") != "recorded" and (found := doubts(record, values["output_dir"])):
        raise ConfigError(f"{title}: is {doubts_and_remedies(found)}")
    print_once(f"{title}: {recorded_line(values)}")
    return record


def _trial_config(values: Checked) -> Checked:
    """One epoch, and no tracker: it would add to the real run, whose id the trial has."""
    return Checked(values | {"tracker": {"kind": "csv"}, "recipe": values["recipe"] | {"epochs": 1, "steps": None}})


@contextmanager
def _locked(folder: Path, title: str) -> Iterator[None]:
    """Hold the lock of a run's folder. The system releases it when the process ends. Only the first rank locks.

    Raises AttnlabError when another process holds it.
    """
    if not is_first():
        yield
        return
    with (folder / "lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not shared with forked workers
        except OSError as error:
            raise AttnlabError(f"{title}: is being trained by another process; not started twice") from error
        yield

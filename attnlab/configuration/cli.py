"""How every command ends: an error, a closed pipe or a signal becomes one line on stderr and an exit status.

    0    done
    1    an error; ATTNLAB_TRACEBACK=1 in the environment prints its traceback as well
    130  interrupted by Ctrl-C or SIGTERM
    141  the reader of stdout closed it, as `| head` does; nothing is printed

Secrets of the environment appear as $NAME in all that is printed here.
"""

import atexit
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from attnlab.configuration.explain import explain
from attnlab.configuration.groups import CONFIG_DIR, own_folder
from attnlab.configuration.secrets import hide
from attnlab.errors import AttnlabError, ConfigError
from attnlab.machine import ranks
from attnlab.machine.cpu import wait_passively
from attnlab.machine.processes import INTERRUPTED, ignore_stops, raise_interrupt

CLOSED_PIPE = 141  # the shell's status of a process that SIGPIPE killed
EXPECTED = (AttnlabError, HydraException, OmegaConfBaseException)


@contextmanager
def command_line(
    *, interrupted: str = "interrupted", expected: tuple[type[Exception], ...] = EXPECTED
) -> Iterator[None]:
    """Decorate the `main` of a command: `@command_line()`.

    interrupted: the line after Ctrl-C or SIGTERM;  expected: errors that the user can correct. They give one line, and
    so does an OSError; any other error is a defect and always prints its traceback too.
    """
    signal.signal(signal.SIGTERM, raise_interrupt)
    wait_passively()
    try:
        sys.argv[1:] = without_config_dir(sys.argv[1:])
        yield
        sys.stdout.flush()  # here, or a closed pipe would be noticed only after main
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more
        sys.exit(CLOSED_PIPE)
    except KeyboardInterrupt:
        ignore_stops()  # a second Ctrl-C would interrupt the clean-up
        if ranks.is_first():
            print(f"attnlab: {interrupted}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        print_error(error, expected)
        sys.exit(1)
    finally:
        atexit.register(ignore_stops)


def without_config_dir(arguments: list[str]) -> list[str]:
    """The arguments without `--config-dir DIR`, which goes into ATTNLAB_CONFIG_DIR: every command and its jobs read it.

    Raises ConfigError if DIR is missing or no folder.
    """
    rest = []
    for argument in (given := iter(arguments)):
        flag, equals, value = argument.partition("=")
        if flag not in ("--config-dir", "-cd"):
            rest.append(argument)
        elif folder := value if equals else next(given, ""):
            os.environ[CONFIG_DIR] = os.path.abspath(folder)
        else:
            raise ConfigError(f"missing value of {flag}; allowed is a folder with yaml files, built like conf/")
    own_folder()
    return rest


def print_error(error: Exception, expected: tuple[type[Exception], ...] = EXPECTED) -> None:
    """Print an error that is being handled, to stderr. Of several ranks only the first prints an expected one."""
    is_expected = isinstance(error, (*expected, OSError))
    if is_expected and not ranks.is_first():
        ranks.let_first_print()
        return
    if os.environ.get("ATTNLAB_TRACEBACK") or not is_expected:
        print(hide(traceback.format_exc()), end="", file=sys.stderr)
    if isinstance(error, expected):
        message = explain(error, sys.argv[1:])
    else:
        message = of_the_system(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    print(f"attnlab: {hide(message)}", file=sys.stderr, flush=True)


def of_the_system(error: OSError) -> str:
    """One line for an error of the operating system: the file or folder, where one is known, and the reason."""
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"cannot read or write {error.filename}: {reason}"

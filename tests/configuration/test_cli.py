"""How commands end: one line and an exit status for errors, closed pipes and signals."""

import os
import signal
import subprocess
import sys

import pytest
from warm import warm

DOORS = ("run", "runs", "report", "look", "judge", "evaluate", "bench", "export")
START = "from attnlab.configuration.cli import command_line\nfrom attnlab.errors import ConfigError\n@command_line()\n"


def ends(body, **environment):
    """The exit status, stdout and stderr of a command whose `main` has this body."""
    code = f"{START}def main():\n    {body}\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def test_a_command_that_succeeds_prints_nothing_more():
    assert ends("print('done')") == (0, "done\n", "")


def test_an_expected_error_is_one_line():
    assert ends("raise ConfigError('wrong value seed=-1')") == (1, "", "attnlab: wrong value seed=-1\n")


def test_a_defect_prints_its_traceback_as_well():
    status, _, error = ends("raise ValueError('a defect')")
    assert status == 1
    assert error.startswith("Traceback")
    assert error.endswith("attnlab: ValueError: a defect\n")


def test_a_later_rank_of_torchrun_prints_nothing_and_lets_the_first_print():
    """torchrun stops the other ranks once one has ended: a first rank that is still importing would never print."""
    body = "import attnlab.machine.ranks as r; r.time.sleep = lambda s: print('waited', s); raise ConfigError('wrong')"
    ranks = [ends(body, TORCHELASTIC_RUN_ID="a", RANK=rank) for rank in ("0", "1")]
    assert ranks == [(1, "", "attnlab: wrong\n"), (1, "waited 20\n", "")]


def test_attnlab_traceback_prints_the_traceback_of_an_expected_error():
    status, _, error = ends("raise ConfigError('wrong')", ATTNLAB_TRACEBACK="1")
    assert status == 1
    assert error.startswith("Traceback")
    assert error.endswith("attnlab: wrong\n")


@pytest.mark.parametrize("kind", ["ConfigError", "ValueError", "OSError"])
def test_secrets_are_hidden(kind):
    secret = "c0ffee5ecret4242"
    for traceback in ("", "1"):
        _, _, error = ends(f"raise {kind}('{secret}')", MY_TOKEN=secret, ATTNLAB_TRACEBACK=traceback)
        assert secret not in error
        assert "$MY_TOKEN" in error


def test_an_error_of_the_system_names_the_file_and_the_reason(tmp_path):
    missing = tmp_path / "missing"
    status, _, error = ends(f"open({str(missing)!r})")
    assert (status, error) == (1, f"attnlab: cannot read or write {missing}: No such file or directory\n")
    assert ends("raise OSError(28, 'No space left on device')")[2] == "attnlab: No space left on device\n"


def test_only_the_first_rank_prints_an_expected_error():
    other = {"LOCAL_RANK": "1", "RANK": "1"}
    assert ends("raise ConfigError('wrong')", **other) == (1, "", "")
    assert "ValueError: a defect" in ends("raise ValueError('a defect')", **other)[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_one_line(number):
    status, _, error = ends(f"import os, time; os.kill(os.getpid(), {int(number)}); time.sleep(10)")
    assert (status, error) == (130, "attnlab: interrupted\n")


@pytest.mark.parametrize("door", DOORS)
def test_a_closed_pipe_ends_a_command_silently(door):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", f"attnlab.{door}", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("door", "arguments"),
    [
        ("run", ["output_dir=FOLDER"]),
        ("runs", ["output_dir=FOLDER"]),
        ("report", ["output_dir=FOLDER"]),
        ("look", ["run=0123456789ab", "output_dir=FOLDER"]),
        ("judge", ["run=0123456789ab", "output_dir=FOLDER"]),
        ("evaluate", ["run=0123456789ab", "output_dir=FOLDER"]),
        ("export", ["run=0123456789ab", "format=onnx", "output_dir=FOLDER"]),
        ("bench", ["same", "FOLDER", "FOLDER"]),
    ],
)
def test_every_command_names_the_folder_that_cannot_be_read_or_written(door, arguments):
    folder = "x" * 300  # longer than any file system allows
    given = [argument.replace("FOLDER", folder) for argument in arguments]
    done = warm([sys.executable, "-m", f"attnlab.{door}", *given])
    assert done.returncode == 1
    assert done.stderr.startswith(f"attnlab: cannot read or write {folder}")
    assert done.stderr.endswith(": File name too long\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("door", "arguments"),
    [
        ("run", []),
        ("look", ["run=0123456789ab"]),
        ("judge", ["run=0123456789ab"]),
        ("evaluate", ["run=0123456789ab"]),
        *(("bench", [command]) for command in ("zoo", "gates", "step", "data", "overhead", "roofline")),
    ],
)
def test_every_command_checks_the_keys_of_the_machine(door, arguments, tmp_path):
    given = [*arguments, "machine.threads=abc", *([] if arguments == ["zoo"] else [f"output_dir={tmp_path}"])]
    done = warm([sys.executable, "-m", f"attnlab.{door}", *given])
    assert done.returncode == 1
    assert done.stderr == "attnlab: wrong value machine.threads=abc; allowed is an integer from 1, or null\n"


def test_run_names_output_dir_when_it_is_null():
    done = warm([sys.executable, "-m", "attnlab.run", "output_dir=null"])
    assert done.returncode == 1
    assert done.stderr == "attnlab: wrong value output_dir=null; allowed is a folder\n"

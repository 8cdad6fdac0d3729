"""`warm(command)` and `start(command)`: subprocess.run and Popen without the seven seconds that imports take.

A command `[sys.executable, "-m", "attnlab.run", ...]` runs in a process forked from a server that has imported what
commands import and has read the files of conf/ (composed_once.py), as jobs of a sweep are; arguments, environment, exit
status, output, folder and session are its own. With ATTNLAB_COLD=1 each is a Python of its own. What a test times is
started cold.
"""

import atexit
import ctypes
import faulthandler
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

PR_SET_NAME = 15  # linux/prctl.h
_server = None  # its socket


def warm(command, env=None, timeout=400):
    """What subprocess.run(command, capture_output=True, text=True, stdin=DEVNULL, ...) gives; no check."""
    process = start(command, env)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def start(command, env=None):
    """The command in a session of its own, its outputs in pipes, Ctrl-C as a terminal gives it."""
    if os.environ.get("ATTNLAB_COLD") or command[0] != sys.executable:
        return start_cold(command, env)
    return Started(command, dict(os.environ if env is None else env))


def start_cold(command, env=None):
    """As start(), in a Python of its own."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def name(pid):
    """What the processes of a test process's commands are called in /proc/PID/comm, and those that they fork."""
    return f"warm{pid}"


class Started:
    """What a Popen has: pid, stdout, stderr, returncode, poll, wait, communicate, send_signal, terminate, kill."""

    def __init__(self, command, env):
        self.args, self.returncode = command, None
        pipes = [os.pipe() for _ in range(3)]
        asked = {"command": command[1:], "env": env, "cwd": os.getcwd(), "name": name(os.getpid())}
        socket.send_fds(_connection(), [json.dumps(asked).encode()], [writing for _, writing in pipes])
        for _, writing in pipes:
            os.close(writing)
        (out, _), (err, _), (self._ended, _) = pipes
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)
        self.pid = self._number()

    def poll(self):
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            self.returncode = self._number()
            os.close(self._ended)
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None and not select.select([self._ended], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.poll()

    def communicate(self, timeout=None):
        """(the rest of stdout, of stderr)."""
        deadline = None if timeout is None else time.monotonic() + timeout
        read = ["", ""]

        def take(number, file):
            if not file.closed:
                with file:
                    read[number] = file.read()

        readers = [
            threading.Thread(target=take, args=pair, daemon=True) for pair in enumerate((self.stdout, self.stderr))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if deadline is None else max(0, deadline - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        return tuple(read)

    def _number(self):
        """The next line of the keeper's pipe; byte by byte, so that select() knows what is left."""
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(self._ended, 1)
            if not byte:
                raise RuntimeError("the server of tests/warm.py ended; ATTNLAB_COLD=1 does without it")
            line += byte
        return int(line)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _connection():
    """A socket to the server, which ends when this process does."""
    global _server
    if _server is None:
        _server, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno())]
        subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        theirs.close()
    return _server


def _serve(requests):
    import composed_once
    import statsmodels.stats.multitest
    import statsmodels.stats.weightstats  # noqa: F401

    import attnlab.evaluation.suite
    import attnlab.tables.figures
    import attnlab.training.train  # noqa: F401

    composed_once.share()
    composed_once.read_all()
    while True:
        asked, ends, *_ = socket.recv_fds(requests, 1 << 20, 3)
        if not ends:
            return
        if not os.fork():
            requests.close()
            _keep(json.loads(asked), *ends)
        for end in ends:
            os.close(end)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _keep(asked, out, err, ended):
    """Fork the command, wait for it, and write its pid and its exit status; does not return."""
    pid = os.fork()
    if not pid:
        os.close(ended)
        _become(**asked, out=out, err=err)
    os.close(out)  # else who reads them waits for this process too
    os.close(err)
    os.write(ended, f"{pid}\n".encode())
    os.write(ended, f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
    os._exit(0)


def _become(command, env, cwd, name, out, err):
    """The command; does not return."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, end in ((1, out), (2, err)):
        os.dup2(end, number)
        os.close(end)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:1] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    if env.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()
    flag, what, *arguments = command
    sys.argv = [what, *arguments]
    code = 0
    try:
        if flag == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv[0] = "-c"
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))

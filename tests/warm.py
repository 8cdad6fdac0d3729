"""`warm([sys.executable, "-m", "attnlab.run", ...])`: subprocess.run without the ten seconds that imports take.

The command runs in a process forked from a server that has imported what commands import and has read the files of
conf/ (composed_once.py), as jobs of a sweep are; arguments, environment, exit status, output, folder and session are
its own. With ATTNLAB_COLD=1 each is a Python of its own. What a test sends signals to, or times, is started cold.
"""

import atexit
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

_server = None


def warm(command, env=None, timeout=400):
    """What subprocess.run(command, capture_output=True, text=True, stdin=DEVNULL, ...) gives; no check."""
    global _server
    environment = dict(os.environ if env is None else env)
    if os.environ.get("ATTNLAB_COLD") or command[0] != sys.executable:
        return subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment, timeout=timeout
        )
    if _server is None:
        _server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        atexit.register(_server.stdin.close)
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        asked = {"command": command[1:], "env": environment, "cwd": os.getcwd(), "out": str(out), "err": str(err)}
        print(json.dumps(asked), file=_server.stdin, flush=True)
        pid = int(_server.stdout.readline())
        late = threading.Timer(timeout, os.killpg, (pid, signal.SIGKILL))
        late.start()
        code = int(_server.stdout.readline())
        if not late.is_alive():
            raise subprocess.TimeoutExpired(command, timeout)
        late.cancel()
        return subprocess.CompletedProcess(command, code, out.read_text(), err.read_text())


def _serve():
    import composed_once
    import statsmodels.stats.multitest
    import statsmodels.stats.weightstats  # noqa: F401

    import attnlab.evaluation.suite
    import attnlab.tables.figures
    import attnlab.training.train  # noqa: F401

    composed_once.share()
    composed_once.read_all()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _become(**json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(command, env, cwd, out, err):
    """The command; does not return."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[0] = cwd
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
    _serve()

"""Run a table or sweep on a machine that is lent for minutes, and carry on where the last such machine stopped.

    python results/lent_machine.py seconds=540 archives=DIR table=cifar10_20_epochs machine=gpu n_jobs=null

It unpacks the archives in DIR, which an earlier machine packed, into output_dir (outputs/ by default). It runs
`python -m attnlab.run` with all other arguments, and asks it to stop, as Ctrl-C does, STOP seconds before the time is
up. Then it packs what to take along into DIR again, in files that can be carried one by one:

    records.tar        of every finished run: record, config, log and predictions; about 30 kB a run
    runs_1.tar, ...    checkpoints: first of the unfinished runs, with all that they need to go on, then of the others

These are at most FILES files, those of checkpoints of at most MEBIBYTES MiB. What finds no place is named; an
unfinished run among it begins anew. The exit status is that of the run, or 0 if it was asked to stop.
"""

import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

STOP = 30  # seconds for the jobs to end and for packing
FILES = 8
MEBIBYTES = 15
RECORD = ("result.json", "config.yaml", "log.csv", "predictions.npz", "image_folder.json")


def main(arguments: Sequence[str]) -> int:
    """The command; its exit status."""
    own = dict(item.split("=", 1) for item in arguments if item.startswith(("seconds=", "archives=")))
    rest = [item for item in arguments if not item.startswith(("seconds=", "archives="))]
    if not own.get("seconds", "").isdecimal() or int(own["seconds"]) <= STOP or not own.get("archives") or not rest:
        print(f"needs seconds=N, more than {STOP}, archives=DIR, and arguments of attnlab.run", file=sys.stderr)
        return 2
    end = time.monotonic() + int(own["seconds"])
    archives = Path(own["archives"])
    output_dir = Path(next((item[11:] for item in rest if item.startswith("output_dir=")), "outputs"))
    unpack(archives, output_dir)
    status = run(rest, end - STOP - time.monotonic())
    pack(output_dir, archives)
    return status


def unpack(archives: Path, output_dir: Path) -> None:
    """Put the runs of all archives into output_dir. Files of a run that is finished there stay as they are."""
    finished = {path.parent.name for path in output_dir.glob("*/result.json")}
    for path in sorted(archives.glob("*.tar")):
        with tarfile.open(path) as archive:
            kept = [name for name in archive.getnames() if Path(name).parts[0] in finished]
            new = [one for one in archive.getmembers() if one.name not in kept or not (output_dir / one.name).exists()]
            archive.extractall(output_dir, new, filter="data")
            print(f"unpacked {len(new)} files of {path.name}")


def run(arguments: Sequence[str], seconds: float) -> int:
    """attnlab.run, for so many seconds; its exit status, or 0 if the time was up."""
    command = [sys.executable, "-m", "attnlab.run", *arguments]
    process = subprocess.Popen(
        command, start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    )
    try:
        return process.wait(max(1.0, seconds))
    except subprocess.TimeoutExpired:
        print(f"the time is up after {seconds:.0f} s: the runs are asked to stop", flush=True)
    for blow, patience in ((signal.SIGINT, 2 * STOP / 3), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, blow)
            process.wait(patience)
            break
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break
    return 0


def pack(output_dir: Path, archives: Path) -> None:
    """Write the archives anew."""
    archives.mkdir(parents=True, exist_ok=True)
    for old in archives.glob("*.tar"):
        old.unlink()
    folders = sorted(path.parent for path in output_dir.glob("*/config.yaml"))
    finished = [folder for folder in folders if (folder / "result.json").exists()]
    records = [folder / name for folder in finished for name in RECORD if (folder / name).exists()]
    bins = [("records.tar", records)]
    waiting = [[*files(folder, (*RECORD, "best.ckpt", "last.ckpt"))] for folder in folders if folder not in finished]
    waiting = [paths for paths in waiting if any(path.name == "last.ckpt" for path in paths)]
    waiting += [[*files(folder, ("best.ckpt",))] for folder in finished]
    for paths in waiting:
        needed = size(paths)
        place = next((held for _, held in bins[1:] if size(held) + needed <= MEBIBYTES << 20), None)
        if place is not None:
            place += paths
        elif len(bins) < FILES and needed <= MEBIBYTES << 20:
            bins.append((f"runs_{len(bins)}.tar", list(paths)))
        elif paths:
            print(f"no place for {paths[0].parent.name} ({needed / (1 << 20):.1f} MiB)")
    for name, paths in bins:
        with tarfile.open(archives / name, "w") as archive:
            for path in paths:
                archive.add(path, path.relative_to(output_dir))
        print(f"packed {len({path.parent for path in paths})} runs into {archives / name}")


def files(folder: Path, names: Iterable[str]) -> Iterable[Path]:
    """Those that are there."""
    return (folder / name for name in names if (folder / name).exists())


def size(paths: Iterable[Path]) -> int:
    """Bytes in an archive, where each file has a header and is padded to 512."""
    return sum(512 + -(-path.stat().st_size // 512) * 512 for path in paths) + 10240


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Overrides of all kinds, drawn by hypothesis: each runs one batch, or ends with one clear message."""

import contextlib
import io
import os
import re
import signal
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import attnlab
from attnlab import run
from attnlab.configuration.groups import choices

SOAK = bool(os.environ.get("ATTNLAB_SOAK"))
EXAMPLES = int(os.environ.get("ATTNLAB_FUZZ", 1000 if SOAK else 40))
LIMIT = 240  # seconds, of one configuration
BASE = [
    "machine=debug", "machine.batches=1", "machine.threads=1", "model=resnet8", "dataset.train_size=60",
    "dataset.test_size=20", "recipe.batch_size=4", "recipe.validation.images=20", "tracker=csv",
]  # fmt: skip
#: what starts processes, compiles, or reaches for the network; and what a test must hold on to
LEFT_ALONE = (
    "machine.devices", "machine.compile", "machine.workers", "machine.batches", "output_dir",
    "machine.accelerator", "tracker.mode", "tracker.kind", "dataset.cache", "n_jobs",
)  # fmt: skip
GROUPS = ("attention", "attention/mask", "head", "recipe", "model", "machine", "experiment", "dataset")
BIG = ("wrn28_10", "wrn40_10", "preact_resnet164", "preresnet110", "resnet110", "preact_resnet110", "vgg16_bn",
       "resnet101_stem3", "timm", "laakom_imagenet", "sresnet50", "imagenet", "huggingface",
       "ltpa_jetley")  # fmt: skip
VALUES = [
    "null", "true", "false", "-1", "0", "1", "2", "3", "7", "64", "0.5", "-0.5", "1e30", "1e-30", "nan", "inf", "-inf",
    "1000000000000", "100000000000000000000000000000000", "''", "abc", "a b", "[]", "{}", "[1,2]", "[2,1]", "{a:1}",
    "[[1],[2]]", "seed", "'${seed}'", "'${nowhere}'", "'${oc.env:HOME}'", "???", "1,2", "é", "'<script>'", "../..",
    "/dev/null", "{_target_:os.system}", "torch.load", "constant", "identity", "0x10", "1_000", "'1'", "00", "1e3",
]  # fmt: skip


def defaults():
    """{dotted key: value} of the default config."""

    def flat(node, prefix):
        for name, item in node.items():
            key = f"{prefix}.{name}" if prefix else name
            yield key, item
            if isinstance(item, dict):
                yield from flat(item, key)

    cfg = attnlab.configuration.compose.plain(attnlab.config(["attention=cbam", "tracker=csv"]))
    return {
        key: item for key, item in sorted(flat(cfg, "")) if key not in LEFT_ALONE and key not in ("machine", "tracker")
    }


DEFAULTS = defaults()
KEYS = [*DEFAULTS, "head.levels", "head.dropout", "model.widen", "attention.kernel_size", "dataset.root"]
choice = st.sampled_from([f"{g}={c}" for g in GROUPS for c in choices(g) if c not in BIG and c not in ("ddp", "gpu")])
value = st.one_of(
    st.sampled_from(VALUES),
    st.integers(-3, 12).map(str),
    st.floats(-2, 2).map(str),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6),
)
change = st.builds(
    lambda key, sign, value: f"{sign}{key}={value}",
    st.sampled_from(KEYS),
    st.sampled_from(["", "", "", "++", "+"]),
    value,
)
odd = st.one_of(
    st.sampled_from(KEYS).map(lambda key: f"~{key}"),
    st.sampled_from(KEYS),
    st.builds(lambda group, text: f"{group}={text}", st.sampled_from(GROUPS), value),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).filter(lambda text: not text.startswith("-")),
    st.sampled_from(["attention=se,cbam", "=1", "a=b=c", "attention=", "+attention=se", "hydra.run.dir=''"]),
)
#: what a person may well mean: another value of the same kind
sensible = st.one_of(
    st.sampled_from([key for key, item in DEFAULTS.items() if isinstance(item, bool)]).flatmap(
        lambda key: st.sampled_from([f"{key}=true", f"{key}=false"])
    ),
    st.sampled_from([key for key, item in DEFAULTS.items() if type(item) is float]).flatmap(
        lambda key: st.sampled_from([f"{key}={factor * DEFAULTS[key]:.6g}" for factor in (0.1, 0.5, 1, 2)])
    ),
    st.sampled_from(
        [key for key, item in DEFAULTS.items() if type(item) is int and not key.startswith("dataset.t")]
    ).flatmap(lambda key: st.sampled_from([f"{key}={value}" for value in (DEFAULTS[key], DEFAULTS[key] + 1, 4)])),
)
#: a size that is asked for in earnest is made in earnest: these take hours, not one message
HUGE = re.compile(r"(train_size|test_size|image_size|pass\w+)=.?\d{6,}")
likely = st.lists(st.one_of(choice, choice, sensible), min_size=1, max_size=2)
overrides = st.one_of(likely, st.lists(st.one_of(choice, change, change, odd), min_size=1, max_size=4)).filter(
    lambda drawn: not any(HUGE.search(override) for override in drawn)
)


class Hung(BaseException):
    pass


def told(arguments, monkeypatch):
    """(exit status, what was printed, what was printed as errors) of the command line, in this process."""

    def alarm(number, frame):
        raise Hung

    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    out, err = io.StringIO(), io.StringIO()
    code = 0
    before = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(LIMIT)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run.main()
    except SystemExit as error:
        code = error.code
    except Hung:
        code = "hung"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.slow
def test_every_configuration_runs_a_batch_or_ends_with_one_message(tmp_path, monkeypatch, record_property):
    count = {"ran": 0, "refused": 0}
    left = Path(os.environ["FUZZ_LOG"]) if "FUZZ_LOG" in os.environ else None

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=not SOAK,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *([] if left else [Phase.shrink])],
    )
    @given(overrides)
    def one(drawn):
        code, out, err = told([*BASE, f"output_dir={tmp_path / 'outputs'}", *drawn], monkeypatch)
        problem = ""
        messages = [line for line in err.splitlines() if line.startswith("attnlab: ")]
        if "Traceback" in err:
            problem = "traceback"
        elif code == 0 and not ("a trial, which leaves no record" in out or "dry run" in out):
            problem = "silent"
        elif code != 0 and (code not in (1, 2) or len(messages) != 1 or len(err.strip().splitlines()) != 1):
            problem = f"{code} {len(messages)} messages"
        elif list(tmp_path.rglob("result.json")):
            problem = "record"
        if problem:
            if left:
                with left.open("a") as file:
                    file.write(f"=== {problem} {drawn}\n{err[-900:]}\n")
            else:
                raise AssertionError(f"{problem}: {drawn}\n{err}")
        count["ran" if code == 0 else "refused"] += 1

    one()
    record_property(
        "figure",
        f"configurations fuzzed: {sum(count.values())}, {count['ran']} ran a batch, "
        f"{count['refused']} refused with one line; records of runs that did not happen: 0",
    )

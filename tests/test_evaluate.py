"""A saved run on another set or split."""

import pytest

import attnlab
from attnlab.errors import ConfigError
from attnlab.evaluate import evaluate


def test_evaluate(tiny):
    cfg = attnlab.config(tiny)
    record = attnlab.train(cfg)
    where = [f"run={record['id'][:5]}", f"output_dir={cfg.output_dir}"]
    own = evaluate(where)
    for name in ("top1_error", "top5_error", "loss", "calibration_error"):
        assert own[name] == pytest.approx(record["metrics"][f"test/{name}"], rel=1e-3)
    assert evaluate([*where, "split=val"])["top1_error"] == pytest.approx(record["metrics"]["val/top1_error"], abs=1e-3)
    other = evaluate([*where, "dataset.seed=1", "dataset.train_size=50", "dataset.test_size=200"])
    assert other["data_hash"] != own["data_hash"] == record["data_hash"]
    assert attnlab.load_results(cfg.output_dir)["test/top1_error"].tolist() == [record["metrics"]["test/top1_error"]]
    for bad, message in (
        ("split=both", r"split=both: allowed are test, val, train"),
        ("dataset=cifar100", r"dataset\.classes=100: allowed is 10"),
        ("model=resnet8", r"model=resnet8: allowed are run, split"),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluate([*where, bad])
    with pytest.raises(ConfigError, match=r"run=zz: no such finished run"):
        evaluate(["run=zz", where[1]])


def test_a_word_that_is_no_override():
    with pytest.raises(ConfigError, match=r"^run: allowed is KEY=VALUE"):
        evaluate(["run"])

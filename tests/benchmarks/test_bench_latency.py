"""`bench latency`: what is compared, by which engines, and that an engine computes what the net computes."""

import pytest
import torch
from torch import nn

import attnlab
from attnlab.bench import measure
from attnlab.benchmarks import engines, latency
from attnlab.benchmarks.engines import many_compiled_nets
from attnlab.benchmarks.options import BenchOptions, plain_setting, setting
from attnlab.errors import ConfigError
from attnlab.tables.grid import read_grid
from attnlab.tables.latency import FILE, read_latencies


def groups(*overrides, attentions=()):
    return latency._groups(BenchOptions(overrides, attentions))


def test_attentions_are_compared_with_none_in_one_model():
    (group,) = groups("model=resnet8", attentions=("se", "none", "cbam", "se"))
    assert (group.name, list(group.nets)) == ("model=resnet8", ["none", "se", "cbam"])
    assert {values["machine"]["precision"] for values in group.nets.values()} == {"32-true"}
    (default,) = groups()
    assert list(default.nets) == ["none", *latency.ATTENTIONS]


def test_a_table_is_compared_column_by_column_and_a_twin_is_not_measured_again():
    (group,) = groups("table=cifar10_cpu", "machine.precision=auto")
    assert list(group.nets)[:4] == ["none", "none, ResNet-14", "SE", "ISE"]
    assert {values["machine"]["precision"] for values in group.nets.values()} == {"auto"}
    first, second = groups("table=simam_cifar10", "model=resnet20,resnet56", attentions=("none", "simam"))
    assert first.name != second.name
    assert list(first.nets) == list(second.nets)
    with pytest.raises(ConfigError, match=r"^table=demo: its baseline, none, is not selected"):
        groups("table=demo", attentions=("se",))


def test_the_devices(monkeypatch):
    for has_gpu, kinds in ((False, ["cpu"]), (True, ["cpu", "gpu"])):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_gpu=has_gpu: has_gpu)
        assert latency._kinds({"accelerator": "auto"}) == kinds
        assert latency._kinds({"accelerator": "cpu"}) == ["cpu"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("batches=1,0", "wrong value batches=1,0; allowed is a list of integers from 1, with commas between"),
        ("engines=onyx", "unknown choice engines=onyx; did you mean onnx? allowed are onnx, eager, graph, compiled"),
        ("batch=1", "unknown key batch of latency; allowed is KEY=VALUE with "),
    ],
)
def test_errors_name_key_value_and_what_is_allowed(argument, message):
    with pytest.raises(ConfigError) as error:
        measure("latency", [argument])
    assert str(error.value).startswith(message)


def test_without_the_packages_onnx_is_left_out_or_refused(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert latency._engines(BenchOptions()) == (["eager", "compiled", "graph"], ["onnx (install attnlab[onnx])"])
    with pytest.raises(ConfigError, match=r"^missing package onnxruntime, which engines=onnx needs; install attnlab"):
        measure("latency", ["engines=onnx"])


def test_a_gpus_engine_on_a_cpu_is_one_message(tmp_path):
    with pytest.raises(ConfigError, match=r"^nothing was measured: no engine runs on this device$"):
        measure("latency", ["engines=graph", "machine=cpu", f"json={tmp_path}/x.json"])


def test_a_table_reads_what_was_measured(tmp_path):
    arguments = ["table=demo", "attention=none,se", "machine=cpu", "engines=eager", "batches=2", "repeats=3"]
    report, path = measure("latency", [*arguments, f"output_dir={tmp_path}"])
    assert path == tmp_path / FILE
    assert report.machine["precision"] == "32-true"
    assert [(row.case, row.of, row.over) for row in report.rows] == [("table=demo, cpu, batch 2, eager", "SE", "none")]
    found = read_latencies(tmp_path)
    none, se = read_grid(arguments[:2]).cells
    ratio = found.of("cost/latency_b2", se.config, none.config)
    assert ratio.median == report.rows[0].ratio().median > 0
    assert found.of("cost/latency_b2", none.config, none.config).median == 1
    assert found.of("cost/latency_b1", se.config, none.config) is None
    assert found.of("cost/latency_b1", none.config, none.config) is None


def test_a_net_that_an_engine_cannot_run_is_left_out_with_the_reason(tmp_path, monkeypatch):
    def breaks(net, x, here):
        if any("at_branch" in name for name, _ in net.named_parameters()):
            raise ValueError("no such operator\nmore")
        return engines.eager(net, x, here)

    monkeypatch.setitem(engines.ENGINES, "compiled", (breaks, ("cpu",)))
    arguments = ["model=resnet8", "machine=cpu", "attention=simam,se", "engines=compiled", "batches=1", "repeats=1"]
    report, _ = measure("latency", [*arguments, f"json={tmp_path}/x.json"])
    assert [row.of for row in report.rows] == ["simam"]
    assert report.summary == {"not measured": "compiled of se, batch 1 (ValueError: no such operator)"}


def test_more_than_eight_nets_of_one_class_stay_compiled():
    """By default torch runs the ninth uncompiled; here that is an error, and the limit is higher."""
    ran = []

    def backend(module, inputs):
        ran.append(module)
        return module.forward

    torch.compiler.reset()
    with many_compiled_nets(12):
        for width in range(1, 13):
            torch.compile(nn.Linear(width, 1), dynamic=False, backend=backend)(torch.ones(1, width))
    assert len(ran) == 12
    torch.compiler.reset()


def test_onnx_computes_what_the_net_computes():
    for package in engines.ONNX_PACKAGES:
        pytest.importorskip(package, reason="needs attnlab[onnx]")
    here = plain_setting(setting(BenchOptions(("machine=cpu",)).values()))
    net = attnlab.build(attnlab.config(["model=resnet8", "attention=cbam"])).eval()
    x = torch.randn(2, 3, 32, 32)
    (y,) = engines.onnx(net, x, here)()
    torch.testing.assert_close(torch.from_numpy(y), engines.eager(net, x, here)(), rtol=1e-3, atol=1e-4)

"""What only a GPU can show: a captured training step is the step, and a resumed run is the run."""

import pytest
import torch

import attnlab
from attnlab.benchmarks.gpu_checks import NETS, resumed, same_weights, within_noise
from attnlab.benchmarks.options import BenchOptions

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]


@pytest.fixture(autouse=True)
def _deterministic(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", NETS)
def test_a_graph_trains_the_weights_that_the_step_trains(name):
    check = same_weights(BenchOptions(), name, 50)
    assert check.holds, check


@pytest.mark.parametrize("name", ["none", "CBAM"])
def test_a_graph_in_bf16_is_within_the_noise_of_seeds(name):
    check = within_noise(BenchOptions(), name, 50)
    assert check.holds, check


def test_a_compiled_graph_is_within_the_noise_of_seeds():
    check = within_noise(BenchOptions(), "SE", 50, compiled=True)
    assert check.holds, check


def test_a_run_resumes_across_a_graph(tmp_path):
    overrides = ["dataset.train_size=2000", "dataset.test_size=200", "machine.graph=true", "machine.precision=32-true"]
    check = resumed([*overrides, "deterministic=true", "tracker=csv", "recipe.epochs=2"], tmp_path)
    assert check.holds, check


def test_auto_captures_the_steps_of_a_run(tiny, capsys):
    record = attnlab.train(attnlab.config(tiny))
    assert record["status"] == "finished"
    assert "steps run one by one" not in capsys.readouterr().out

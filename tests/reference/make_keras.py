"""Makes the reference data of the inverse-attention code's nets: runs them, in Keras, under rule.py.

    python make_keras.py FOLDER [NAME ...]

FOLDER is a checkout of firasl/inverse_attention@8c9a08c, which is no part of this repository. In an environment of its
own: Python 3.11, tensorflow-cpu==2.15.*, Keras-Applications==1.0.8. What is in an npz: README.md beside this file.
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from rule import digest, values

HERE = Path(__file__).parent
SOURCE = "firasl/inverse_attention@8c9a08c:models"
MODES = {"train": (4, 3, 32, 32), "eval": (2, 3, 32, 32)}
VARIANTS = (
    "",
    "_05",
    "_08",
    "_ours",
    "_ours_05",
    "_ours_08",
    "_ours_invsigmoid",
    "_ours_msigmoid",
    "_ours_mexp",
    "_ours_mexpsigm",
)
#: our model -> the cases (attention_module, mode); every attention once, on the net with the fewest places
CASES = {
    "resnet50_cifar": [(a, m) for a in (None, "se_block_ours_05", "cbam_block_ours_08") for m in MODES],
    "mobilenet": [(a, m) for a in (None, "se_block_ours_05", "cbam_block_ours_08") for m in MODES],
    "densenet40": [(None, "train"), (None, "eval"), ("se_block_ours_invsigmoidraw", "train")]
    + [(f"{block}{variant}", "train") for block in ("se_block", "cbam_block") for variant in VARIANTS],
}
#: our model -> (file, function, its arguments), as main_cifar.py calls them
NETS = {
    "resnet50_cifar": ("resnet_v1", "resnet_v1", {"depth": 50, "num_classes": 10}),
    "densenet40": ("densenet", "DenseNet", {"classes": 10, "reduction": 0.0, "bottleneck": True}),
    "mobilenet": ("mobilenets", "MobileNet", {"classes": 10}),
}
CHANGED = "no softmax at the end; dropout rate 0; float64, in which Keras' running variances take the biased variance"
#: Keras' name of a weight -> (ours, the axes of its array in PyTorch's order); Dense layers have two axes
KINDS = {
    "kernel": ("weight", (3, 2, 0, 1)),
    "depthwise_kernel": ("weight", (2, 3, 0, 1)),
    "gamma": ("weight", (0,)),
    "beta": ("bias", (0,)),
    "bias": ("bias", (0,)),
    "moving_mean": ("running_mean", (0,)),
    "moving_variance": ("running_var", (0,)),
}
Array = NDArray[np.float64]


def build(folder: Path, net: str, attention: str | None) -> tf.keras.Model:
    """The net as the authors build it, with logits as its output."""
    tf.keras.backend.clear_session()  # layers are numbered from 0 again
    tf.keras.backend.set_floatx("float64")
    sys.path.insert(0, str(folder))
    file, function, arguments = NETS[net]
    make = getattr(importlib.import_module(f"models.{file}"), function)
    sys.path.pop(0)
    model = make(input_shape=(32, 32, 3), attention_module=attention, **arguments)
    last = [layer for layer in model.layers if getattr(layer, "activation", None) is tf.keras.activations.softmax]
    assert len(last) == 1
    last[0].activation = tf.keras.activations.linear
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.Dropout):
            layer.rate = 0.0
    return model


def named(model: tf.keras.Model) -> dict[str, tuple[tf.Variable, tuple[int, ...]]]:
    """{PyTorch-like name: (variable, its axes in PyTorch's order)}, in the order in which the layers were made."""
    found = {}
    for weight in (weight for layer in model.layers for weight in layer.weights):
        layer, kind = weight.name.removesuffix(":0").rsplit("/", 1)
        name, axes = KINDS[kind]
        found[f"{layer}.{name}"] = (weight, (1, 0) if len(weight.shape) == 2 else axes)
    return found


def in_order(array: tf.Tensor, axes: tuple[int, ...]) -> Array:
    """Keras' array as PyTorch would hold it."""
    return np.transpose(np.asarray(array), axes)


def fill(state: dict[str, tuple[tf.Variable, tuple[int, ...]]], seed: str) -> None:
    """Every weight and running statistic by the rule, in place."""
    for name, (weight, axes) in state.items():
        shape = tuple(weight.shape[axis] for axis in axes)
        weight.assign(np.transpose(values(name, shape, seed), np.argsort(axes)))


def run(model: tf.keras.Model, mode: str, seed: str) -> dict[str, Array]:
    """One forward and backward pass: logits, digests of gradients, and of the running statistics after train mode."""
    state = named(model)
    fill(state, seed)
    x = tf.Variable(np.transpose(values("input", MODES[mode]), (0, 2, 3, 1)))
    trained = [name for name, (weight, _) in state.items() if weight.trainable]
    with tf.GradientTape() as tape:
        logits = model(x, training=mode == "train")
        loss = tf.reduce_sum(logits * values("cotangent", tuple(logits.shape)))
    first, *rest = tape.gradient(loss, [x] + [state[name][0] for name in trained])
    digests = [digest("input", in_order(first, (0, 3, 1, 2)))]
    digests += [digest(name, in_order(g, state[name][1])) for name, g in zip(trained, rest, strict=True)]
    found = {"output": logits.numpy(), "gradients": np.stack(digests)}
    if mode == "train":
        moved = {name: weight.numpy() for name, (weight, _) in state.items() if not weight.trainable}
        found["after"] = np.stack([digest(name, array) for name, array in moved.items()])
    return found


def decays(model: tf.keras.Model) -> dict[str, float]:
    """{name: weight decay}: what the gradient of the authors' L2 losses is of each weight, as a multiple of it."""
    state = {name: weight for name, (weight, _) in named(model).items() if weight.trainable}
    with tf.GradientTape() as tape:
        penalty = tf.add_n(model.losses)
    gradients = tape.gradient(penalty, list(state.values()))
    ratios = {}
    for (name, weight), gradient in zip(state.items(), gradients, strict=True):
        ratio = np.zeros(1) if gradient is None else gradient.numpy() / weight.numpy()
        assert np.ptp(ratio) < 1e-12
        ratios[name] = round(float(ratio.flat[0]), 12)
    return ratios


def make(folder: Path, net: str, seed: str = "attnlab") -> Path:
    """Write laakom_<net>.npz."""
    arrays: dict[str, NDArray[np.generic]] = {}
    state, weight_decay = {}, {}
    for attention, mode in CASES[net]:
        model = build(folder, net, attention)
        arrays.update({f"{attention}/{mode}/{key}": array for key, array in run(model, mode, seed).items()})
        kind = str(attention).split("_")[0]
        state[kind] = [[n, [w.shape[axis] for axis in axes], w.trainable] for n, (w, axes) in named(model).items()]
        weight_decay[kind] = decays(model)
    facts = {
        "source": f"{SOURCE}/{NETS[net][0]}.py {NETS[net][1]}",
        "arguments": NETS[net][2],
        "changed": CHANGED,
        "seed": seed,
        "input": {mode: f"values('input', {shape})" for mode, shape in MODES.items()},
        "state": state,
        "weight_decay": weight_decay,
        "cases": CASES[net],
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "input_head": values("input", (3,)).tolist(),
    }
    arrays["about"] = np.array(json.dumps(facts))
    path = HERE / f"laakom_{net}.npz"
    np.savez_compressed(path, **arrays)
    return path


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    for wanted in sys.argv[2:] or NETS:
        written = make(Path(sys.argv[1]), wanted)
        print(f"{written.name:28} {written.stat().st_size:7} bytes", flush=True)

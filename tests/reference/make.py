"""Makes the reference data: runs the originals under rule.py and writes <name>.npz beside this file.

    python make.py FOLDER [NAME ...]

FOLDER holds the originals, one file each (none is part of this repository: some are GPL, some have no licence):
    eca.py           BangguWu/ECANet@b332f6b:models/eca_module.py
    cbam.py          Jongchan/attention-module@459efad:MODELS/cbam.py
    bam.py           Jongchan/attention-module@459efad:MODELS/bam.py
    simam.py         ZjjConan/SimAM@ae98f43:networks/attentions/simam_module.py
    srm.py           hyunjaelee410/style-based-recalibration-module@f6221c7:models/recalibration_modules.py
    sge.py           implus/PytorchInsight@2864528:classification/models/imagenet/resnet_sge.py
    coordatt.py      houqb/CoordAttention@7619bea:coordatt.py
    triplet.py       landskape-ai/triplet-attention@2cf02fb:triplet_attention.py
    gc_block.py      xvjiarui/GCNet@029db54:mmdet/ops/gcb/context_block.py
    s_resnet.py      ma-xu/ResidualAttention@045265c:models/s_resnet.py
    bams_resnet.py   ma-xu/ResidualAttention@045265c:models/bams_resnet.py
    cbams_resnet.py  ma-xu/ResidualAttention@045265c:models/cbams_resnet.py
    model1.py, model2.py, blocks.py, initialize.py   SaoYan/LearnToPayAttention@61cf5b2 (their newest versions)
SE, GE and SK come from the installed timm; make_modules.py runs further modules. What is in an
npz: README.md beside this file.
"""

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from rule import digest, text_of, values
from timm.layers import SelectiveKernel, SqueezeExcite
from torch import Tensor, nn

HERE = Path(__file__).parent
PACKAGE = "attention_originals"
Shape = tuple[int, ...]
Arrays = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Case:
    """One run. mode: train or eval;  full: store the output itself, not only its digest;  shape: of the input."""

    mode: str
    shape: Shape
    full: bool = False

    @property
    def name(self) -> str:
        return f"{self.mode}_{text_of(self.shape)}"


SQUARE: Shape = (4, 64, 8, 8)
PLAIN = (Case("train", SQUARE, full=True), Case("train", (2, 64, 5, 9), full=True))


def with_norm(square: Shape = SQUARE, odd: Shape = (2, 64, 5, 9)) -> tuple[Case, ...]:
    """The cases of a module with BN. Train mode keeps four images: over two, BN on (B, C) yields signs only."""
    four = (4, *odd[1:])
    return Case("train", square, full=True), Case("eval", square), Case("train", four), Case("eval", odd, full=True)


@dataclass(frozen=True)
class Original:
    """One original.

    build: from its file's module and the input's shape;  seed: of the weights (inputs, cotangents and digests keep the
    rule's), chosen so that no hidden unit, or few, is dead in a ReLU.
    """

    source: str
    file: str
    arguments: str
    build: Callable[[ModuleType, Shape], nn.Module]
    cases: tuple[Case, ...] = PLAIN
    changed: str = "nothing"
    seed: str = "attnlab"


def load(path: Path) -> ModuleType:
    """Import one original by its path. Its imports of packages that are not installed meet stubs."""
    head = ModuleType(f"{PACKAGE}.common_head")
    head.__dict__.update(torch=torch, nn=nn, F=nn.functional, Parameter=nn.Parameter)
    mmcv = ModuleType("mmcv.cnn")
    mmcv.__dict__.update(constant_init=lambda *_, **__: None, kaiming_init=lambda *_, **__: None)
    sys.modules.update(
        {PACKAGE: ModuleType(PACKAGE), head.__name__: head, "mmcv": ModuleType("mmcv"), "mmcv.cnn": mmcv}
    )
    name = f"{PACKAGE}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # some import their neighbours
    spec.loader.exec_module(module)
    sys.path.pop(0)
    return module


def gather_excite() -> ModuleType:
    """timm's gather_excite with the dict of device and dtype splatted as keywords (1.0.31 splats it by position)."""
    import timm.layers.gather_excite as installed

    text, count = re.subn(r"(?<!\*)\*(?=dd\b)", "**", Path(str(installed.__file__)).read_text())
    print(f"timm {timm.__version__} gather_excite: {count} splats changed")
    module = ModuleType("timm.layers.gather_excite_patched")
    module.__package__ = "timm.layers"
    exec(compile(text, str(installed.__file__), "exec"), module.__dict__)
    return module


def bam(module: ModuleType, shape: Shape) -> nn.Module:
    """BAM with its undefined name defined, and its pooling over the whole map instead of (H, H)."""

    def whole_map(x: Tensor, *_: object, **__: object) -> Tensor:
        return nn.functional.avg_pool2d(x, x.shape[2:])

    module.__dict__.update(gate_activation=None, F=SimpleNamespace(avg_pool2d=whole_map, sigmoid=torch.sigmoid))
    return module.BAM(64)


def ge(**arguments: object) -> Callable[[ModuleType, Shape], nn.Module]:
    """timm's GE; feat_size is the input's where the gather is global and has weights."""

    def build(module: ModuleType, shape: Shape) -> nn.Module:
        return module.GatherExcite(64, use_mlp=False, feat_size=shape[2:], **arguments)

    return build


TIMM = f"huggingface/pytorch-image-models@v{timm.__version__}:timm/layers"
GE = f"{TIMM}/gather_excite.py GatherExcite"
STARS = "every *dd (device and dtype, splatted by position) became **dd: timm 1.0.31 raises TypeError with weights"
INSIGHT = "implus/PytorchInsight@2864528:classification/models/imagenet"
MA = "ma-xu/ResidualAttention@045265c:models"
SRM = "hyunjaelee410/style-based-recalibration-module@f6221c7:models/recalibration_modules.py"
EVEN = (Case("train", SQUARE, full=True), Case("train", (2, 64, 6, 10), full=True))

ORIGINALS = {
    "se": Original(
        f"{TIMM}/squeeze_excite.py SqueezeExcite",
        "",
        "64, rd_ratio=1/16, rd_divisor=1 (4 hidden channels)",
        lambda m, s: SqueezeExcite(64, rd_ratio=1 / 16, rd_divisor=1),
        seed="attnlab-9",
    ),
    "eca": Original(
        "BangguWu/ECANet@b332f6b:models/eca_module.py eca_layer",
        "eca.py",
        "64, k_size=3",
        lambda m, s: m.eca_layer(64, k_size=3),
    ),
    "cbam": Original(
        "Jongchan/attention-module@459efad:MODELS/cbam.py CBAM",
        "cbam.py",
        "64, 16",
        lambda m, s: m.CBAM(64, 16),
        with_norm(),
        seed="attnlab-4",
    ),
    "bam": Original(
        "Jongchan/attention-module@459efad:MODELS/bam.py BAM",
        "bam.py",
        "64",
        bam,
        with_norm(odd=(2, 64, 5, 7)),
        seed="attnlab-5",
        changed="the undefined global gate_activation is defined (None, never used); F.avg_pool2d as the file sees it "
        "pools the whole map instead of (H, H): the same bits on square maps",
    ),
    "simam": Original(
        "ZjjConan/SimAM@ae98f43:networks/attentions/simam_module.py simam_module",
        "simam.py",
        "64, e_lambda=1e-4",
        lambda m, s: m.simam_module(64, e_lambda=1e-4),
    ),
    "srm": Original(f"{SRM} SRMLayer", "srm.py", "64", lambda m, s: m.SRMLayer(64), with_norm()),
    "ge_theta_minus": Original(GE, "", "64, use_mlp=False", ge(), changed=STARS),
    "ge_theta_minus_e4": Original(GE, "", "64, use_mlp=False, extent=4", ge(extent=4), changed=STARS),
    "ge_theta_e2": Original(
        GE,
        "",
        "64, use_mlp=False, extra_params=True, extent=2",
        ge(extra_params=True, extent=2),
        with_norm(),
        changed=STARS,
    ),
    "ge_theta_e4": Original(
        GE,
        "",
        "64, use_mlp=False, extra_params=True, extent=4",
        ge(extra_params=True, extent=4),
        with_norm(),
        changed=STARS,
        seed="attnlab-55",
    ),
    "ge_srm": Original(
        f"{SRM} GELayer",
        "srm.py",
        "64, layer_idx=4 (kernel 7x7)",
        lambda m, s: m.GELayer(64, 4),
        (Case("train", (4, 64, 7, 7), full=True), Case("eval", (2, 64, 7, 7), full=True)),
    ),
    "sge": Original(
        f"{INSIGHT}/resnet_sge.py SpatialGroupEnhance",
        "sge.py",
        "8",
        lambda m, s: m.SpatialGroupEnhance(8),
        changed="its star import of common_head meets a stub (torch, nn, F, Parameter)",
    ),
    "coordinate": Original(
        "houqb/CoordAttention@7619bea:coordatt.py CoordAtt",
        "coordatt.py",
        "64, 64, reduction=32",
        lambda m, s: m.CoordAtt(64, 64, reduction=32),
        with_norm(),
    ),
    "triplet": Original(
        "landskape-ai/triplet-attention@2cf02fb:triplet_attention.py TripletAttention",
        "triplet.py",
        "(none)",
        lambda m, s: m.TripletAttention(),
        with_norm(),
    ),
    "gc": Original(
        "xvjiarui/GCNet@029db54:mmdet/ops/gcb/context_block.py ContextBlock",
        "gc_block.py",
        "64, 1/16, pooling_type=att, fusion_types=(channel_add,)",
        lambda m, s: m.ContextBlock(64, 1 / 16, pooling_type="att", fusion_types=("channel_add",)),
        changed="mmcv.cnn is a stub whose two init functions do nothing (the rule overwrites every weight)",
        seed="attnlab-28",
    ),
    "sk_timm": Original(
        f"{TIMM}/selective_kernel.py SelectiveKernel",
        "",
        "64, groups=32, split_input=False, keep_3x3=True, rd_channels=32 (the layout of the authors' Caffe file)",
        lambda m, s: SelectiveKernel(64, groups=32, split_input=False, keep_3x3=True, rd_channels=32),
        with_norm(),
    ),
    "sresnet": Original(
        f"{MA}/s_resnet.py SpatialLayer",
        "s_resnet.py",
        "(none)",
        lambda m, s: m.SpatialLayer(),
        EVEN,
        seed="attnlab-1",
    ),
    "bams": Original(
        f"{MA}/bams_resnet.py BAMS", "bams_resnet.py", "64", lambda m, s: m.BAMS(64), with_norm(), seed="attnlab-3"
    ),
    "cbams": Original(
        f"{MA}/cbams_resnet.py CBAMS",
        "cbams_resnet.py",
        "64, 16",
        lambda m, s: m.CBAMS(64, 16),
        with_norm(),
    ),
}


IMAGES = (Case("train", (4, 3, 32, 32), full=True), Case("eval", (2, 3, 32, 32), full=True))
for number, maps in ((1, "before"), (2, "after")):
    for normalize in ("softmax", "sigmoid"):

        def build(module: ModuleType, shape: Shape, maps: str = maps, normalize: str = normalize) -> nn.Module:
            """The whole net, 100 classes."""
            return getattr(module, f"AttnVGG_{maps}")(32, 100, normalize_attn=normalize == "softmax")

        ORIGINALS[f"saoyan_{maps}_{normalize}"] = Original(
            f"SaoYan/LearnToPayAttention@61cf5b2:model{number}.py AttnVGG_{maps}",
            f"model{number}.py",
            f"im_size=32, num_classes=100, normalize_attn={normalize == 'softmax'}",
            build,
            IMAGES,
        )


def fill(module: nn.Module, seed: str) -> None:
    """Every parameter and running statistic by the rule, in place."""
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():  # neither num_batches_tracked nor a table of indices
            tensor.copy_(torch.from_numpy(values(name, tuple(tensor.shape), seed)))


def run(module: nn.Module, case: Case) -> Arrays:
    """One forward and backward pass: output, gradients' digests, and the running statistics after train mode."""
    x = torch.from_numpy(values("input", case.shape)).requires_grad_()
    outputs = module.train(case.mode == "train")(x)
    y, *maps = outputs if isinstance(outputs, list) else [outputs]
    (y * torch.from_numpy(values("cotangent", tuple(y.shape)))).sum().backward()
    output = y.detach().numpy()
    arrays = {"output_digest": digest("output", output)}
    if case.full:
        arrays["output"] = output
    for number, scores in enumerate(maps, start=1):
        arrays[f"map{number}"] = scores.detach().numpy()
    for name, tensor in [("input", x), *module.named_parameters()]:
        grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        arrays[f"grad/{name}"] = digest(name, grad.numpy())
    if case.mode == "train":
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                arrays[f"after/{name}"] = digest(name, buffer.numpy())
    return {f"{case.name}/{name}": array for name, array in arrays.items()}


def about(original: Original, module: nn.Module) -> str:
    """The JSON text stored as "about"."""
    facts = {
        "source": original.source,
        "arguments": original.arguments,
        "changed": original.changed,
        "seed": original.seed,
        "input": "values('input', shape)",
        "state": [[name, list(tensor.shape)] for name, tensor in module.state_dict().items()],
        "cases": [case.name for case in original.cases],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "input_head": values("input", (3,)).tolist(),
    }
    return json.dumps(facts)


def write(name: str, original: Original, source: ModuleType) -> Path:
    """Run an original, which `source` holds, and write <name>.npz."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for case in original.cases:
        module = original.build(source, case.shape).double()
        fill(module, original.seed)
        arrays.update(run(module, case))
    first = original.build(source, original.cases[0].shape)
    arrays["about"] = np.array(about(original, first))
    path = HERE / f"{name}.npz"
    np.savez_compressed(path, **arrays)
    return path


def make(name: str, folder: Path) -> Path:
    """Write <name>.npz."""
    original = ORIGINALS[name]
    return write(name, original, load(folder / original.file) if original.file else gather_excite())


if __name__ == "__main__":
    torch.set_num_threads(1)
    for wanted in sys.argv[2:] or ORIGINALS:
        written = make(wanted, Path(sys.argv[1]))
        print(f"{written.name:24} {written.stat().st_size:7} bytes")

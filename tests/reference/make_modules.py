"""Makes the reference data of further modules: runs the originals under rule.py and writes <name>.npz beside this file.

    python make_modules.py FOLDER [NAME ...]

FOLDER holds the originals, one file each, under the names below (none is part of this repository):
    ema.py           YOLOonMe/EMA-attention-module@afc37ec:EMA_attention_module
    sa_resnet.py     wofmanaf/SA-Net@00a6760:models/sa_resnet.py
    nam.py           Christian-lyc/NAM@6e8d3e3:MODELS/attention.py
    nam_spatial.py   Christian-lyc/NAM@a9c3926:MODELS/attention.py
    polarized.py     DeLightCMU/PSA@20e307a:semantic-segmentation/network/PSA.py
    epsanet.py, SE_weight_module.py   murufeng/EPSANet@9955041:models/
    da_att.py        junfu1115/DANet@b0a0fa0:encoding/nn/da_att.py
    cc.py            speedinghzl/CCNet@1fae6c6:cc_attention/functions.py
    ela.py, scsa.py  HZAI-ZJNU/SCSA@8c46866:mmpretrain/models/attentions/ (ELA.py, SCSA.py)
    sp_resnet.py     houqb/SPNet@5e97da3:models/resnet.py
    splat.py         zhanghang1989/ResNeSt@1dfb3e8:resnest/torch/models/splat.py
    cotnet.py        JDAI-CV/CoTNet@895e024:models/cotnet.py
    eanet.py         MenghaoGuo/EANet@59c03cb:model_torch.py
    lsknet.py        zcablii/LSKNet@cbe06ca:mmrotate/models/backbones/lsknet.py
    van_lska.py      StevenLauHKHK/Large-Separable-Kernel-Attention@bb2a8d2:models/van.py
    repvgg.py, parnet_utils.py   imankgoyal/NonDeepNetworks@777b286:imagenet/timm/models/simplenet_impl/ (utils.py)
    vovnet.py        youngwanLEE/vovnet-detectron2@b81c813:vovnet/vovnet.py
    mlca.py          wandahangFY/MLCA@afbeb47:MLCA.py
    csra.py          Kevinz-code/CSRA@c8480d1:pipeline/csra.py
    san.py, MPNCOV.py   daitao/SAN@7c1e61f:TrainCode/model/ (MPNCOV/python/MPNCOV.py)
    axialnet.py, axial_utils.py   csrhddlam/axial-deeplab@79088ed:lib/models/ (utils.py)

Only the classes and functions that a module needs are taken from a file, so its other imports need not be installed.
The default type is float64, since some originals make constants of that type.
"""

import ast
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from make import Case, Original, Shape, write
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.utils import _pair


class Repeated(nn.Module):
    """x -> layer(... layer(x)), `times` times."""

    def __init__(self, layer: nn.Module, times: int) -> None:
        super().__init__()
        self.layer, self.times = layer, times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.layer(x)
        return x


class Both(nn.Module):
    """DANet's two parts of one x: x is added once."""

    def __init__(self, position: nn.Module, channel: nn.Module) -> None:
        super().__init__()
        self.position, self.channel = position, channel

    def forward(self, x: Tensor) -> Tensor:
        return self.position(x) + self.channel(x) - x


class Times(nn.Module):
    """x -> x * score(x): SPNet multiplies in its block."""

    def __init__(self, score: nn.Module) -> None:
        super().__init__()
        self.score = score

    def forward(self, x: Tensor) -> Tensor:
        return x * self.score(x)


class ByUnfold(nn.Module):
    """What CoTNet's CUDA kernel computes, by unfold: its own test compares the two."""

    def __init__(self, *_: int, kernel_size: int, padding: int, **__: int) -> None:
        super().__init__()
        self.unfold = nn.Unfold(kernel_size, padding=padding)

    def forward(self, x: Tensor, kernels: Tensor) -> Tensor:
        batch, _, shared, area, height, width = kernels.shape
        windows = self.unfold(x).view(batch, -1, shared, area, height, width)
        return (windows * kernels).sum(dim=3).flatten(1, 2)


def rearrange(x: Tensor, pattern: str, h: int = 0, w: int = 0, head_num: int = 0, head_dim: int = 0) -> Tensor:
    """einops.rearrange for the two patterns of SCSA."""
    return x.reshape(len(x), head_num, head_dim, -1) if head_num else x.reshape(len(x), -1, h, w)


#: names that the originals import from packages that are not installed
STAND_INS = {
    "BaseModule": nn.Module, "rearrange": rearrange, "LocalConvolution": ByUnfold, "get_act_layer": lambda _: nn.SiLU,
    "norm_layer": nn.BatchNorm2d, "DropBlock2D": None,
}  # fmt: skip


def taken(files: str, names: str, folder: Path) -> ModuleType:
    """A module with only some top-level classes and functions of some files; of equal names the first one."""
    module = ModuleType("taken")
    module.__dict__.update(STAND_INS | dict(vars(torch.nn)))
    module.__dict__.update(torch=torch, nn=nn, F=F, math=math, Function=Function, _pair=_pair, _BatchNorm=_BatchNorm)
    module.__dict__.update(t=__import__("typing"), partial=partial, MPNCOV=module)
    found: dict[str, ast.stmt] = {}
    for file in files.split():
        for node in ast.parse((folder / file).read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.setdefault(node.name, node)
    for name in names.split():
        exec(compile(ast.Module([found[name]], []), files, "exec"), module.__dict__)
    return module


# The digests of a large square map, and the output of a small odd one.
PLAIN = (Case("train", (4, 64, 8, 8)), Case("train", (2, 64, 5, 9), full=True))


def with_norm(channels: int = 64, square: int = 8, odd: tuple[int, int] = (5, 9)) -> tuple[Case, ...]:
    """The cases of a module with BN; `odd` may be square for one that is built for one size."""
    large, small = (4, channels, square, square), (4, channels, *odd)
    four = (Case("train", large), Case("eval", large)) if large != small else ()
    return *four, Case("train", small), Case("eval", (2, *small[1:]), full=True)


SEVEN = with_norm(square=7, odd=(7, 7))
STRIDED = with_norm(32, 8, (5, 9))
SA, NAM = "wofmanaf/SA-Net@00a6760:models/sa_resnet.py sa_layer", "Christian-lyc/NAM"
PSA = "DeLightCMU/PSA@20e307a:semantic-segmentation/network/PSA.py"
EPSA = "murufeng/EPSANet@9955041:models/epsanet.py PSAModule"
DANET = "junfu1115/DANet@b0a0fa0:encoding/nn/da_att.py"
CC = "speedinghzl/CCNet@1fae6c6:cc_attention/functions.py CrissCrossAttention"
SCSA = "HZAI-ZJNU/SCSA@8c46866:mmpretrain/models/attentions"
SPLAT = "zhanghang1989/ResNeSt@1dfb3e8:resnest/torch/models/splat.py SplAtConv2d"
COT = "JDAI-CV/CoTNet@895e024:models/cotnet.py CotLayer"
LSKA = "StevenLauHKHK/Large-Separable-Kernel-Attention@bb2a8d2:models/van.py LSKA"
PARNET = "imankgoyal/NonDeepNetworks@777b286:imagenet/timm/models/simplenet_impl/repvgg.py RepVGGBlock"
EMA = "YOLOonMe/EMA-attention-module@afc37ec:EMA_attention_module EMA"
MLCA = "wandahangFY/MLCA@afbeb47:MLCA.py MLCA"
CSRA = "Kevinz-code/CSRA@c8480d1:pipeline/csra.py MHA"
SOCA = "daitao/SAN@7c1e61f:TrainCode/model/san.py SOCA"
AXIAL = "csrhddlam/axial-deeplab@79088ed:lib/models/axialnet.py AxialAttention"
NO_CUDA = "Tensor.cuda does nothing"
NO_KERNEL = (
    "its CUDA kernel (LocalConvolution) is a stand-in by unfold, a product and a sum, as in the authors' own test"
)
THEN_NORM = "a BN and a ReLU follow, as in the authors' EPSABlock"

torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign, assignment]


def epsa(inputs: int, stride: int, reduction: int) -> Callable[[ModuleType, Shape], nn.Module]:
    """PSAModule, BN, ReLU."""

    def build(m: ModuleType, _: Shape) -> nn.Module:
        module = m.PSAModule(inputs, 64, stride=stride)
        module.se = m.SEWeightModule(16, reduction)
        return nn.Sequential(module, nn.BatchNorm2d(64), nn.ReLU())

    return build


def axial(inputs: int, stride: int, groups: int) -> Callable[[ModuleType, Shape], nn.Module]:
    """Height, width, ReLU."""

    def build(m: ModuleType, shape: Shape) -> nn.Module:
        size = shape[2]
        height = m.AxialAttention(inputs, 64, groups=groups, kernel_size=size)
        width = m.AxialAttention(64, 64, groups=groups, kernel_size=size, stride=stride, width=True)
        return nn.Sequential(height, width, nn.ReLU())

    return build


def untied(module: nn.Module) -> nn.Module:
    """Every parameter with storage of its own."""
    for parameter in module.parameters():
        parameter.data = parameter.data.clone()
    return module


def splat(inputs: int, groups: int, radix: int) -> Callable[[ModuleType, Shape], nn.Module]:
    """SplAtConv2d 3x3 to 64 channels with BN."""
    return lambda m, _: m.SplAtConv2d(
        inputs, 64, 3, padding=1, groups=groups, bias=False, radix=radix, norm_layer=nn.BatchNorm2d
    )


def parnet(inputs: int, stride: int) -> Callable[[ModuleType, Shape], nn.Module]:
    """RepVGGBlock with SSE and swish."""
    return lambda m, _: m.RepVGGBlock(
        inputs, 64, 3, stride, padding=1, avg_pool=True, se_block=True, activation=nn.SiLU()
    )


#: seeds of weights under which few units are dead in a ReLU
SEEDS = {"epsa": 32, "epsa_s2": 12, "polarized_sequential": 28, "soca": 34, "soca_r16": 11, "strip_pooling": 26}

#: name -> (the original, the names to take from its files)
ORIGINALS: dict[str, tuple[Original, str]] = {
    "ema": (Original(EMA, "ema.py", "64, factor=32", lambda m, s: m.EMA(64), PLAIN), "EMA"),
    "ema_g8": (Original(EMA, "ema.py", "64, factor=8", lambda m, s: m.EMA(64, factor=8), PLAIN), "EMA"),
    "shuffle_attention": (
        Original(SA, "sa_resnet.py", "64, groups=16", lambda m, s: m.sa_layer(64, 16), PLAIN),
        "sa_layer",
    ),
    "shuffle_attention_g4": (
        Original(SA, "sa_resnet.py", "64, groups=4", lambda m, s: m.sa_layer(64, 4), PLAIN),
        "sa_layer",
    ),
    "nam": (
        Original(f"{NAM}@6e8d3e3:MODELS/attention.py Att", "nam.py", "64, 8", lambda m, s: m.Att(64, 8), with_norm()),
        "Channel_Att Att",
    ),
    "nam_spatial": (
        Original(
            f"{NAM}@a9c3926:MODELS/attention.py Spatial_Att", "nam_spatial.py", "7",
            lambda m, s: m.Spatial_Att(7), SEVEN,
        ),
        "Spatial_Att",
    ),
    "polarized_parallel": (
        Original(f"{PSA} PSA_p", "polarized.py", "64, 64", lambda m, s: m.PSA_p(64, 64), PLAIN),
        "constant_init kaiming_init PSA_p",
    ),
    "polarized_sequential": (
        Original(f"{PSA} PSA_s", "polarized.py", "64, 64", lambda m, s: m.PSA_s(64, 64), PLAIN),
        "constant_init kaiming_init PSA_s",
    ),
    "epsa": (
        Original(EPSA, "epsanet.py SE_weight_module.py", "64, 64", epsa(64, 1, 16), with_norm(), THEN_NORM),
        "conv SEWeightModule PSAModule",
    ),
    "epsa_s2": (
        Original(
            EPSA, "epsanet.py SE_weight_module.py", "32, 64, stride=2; its SE with reduction=4",
            epsa(32, 2, 4), STRIDED, THEN_NORM,
        ),
        "conv SEWeightModule PSAModule",
    ),
    "danet": (
        Original(
            f"{DANET} PAM_Module, CAM_Module", "da_att.py", "64; none",
            lambda m, s: Both(m.PAM_Module(64), m.CAM_Module(64)), PLAIN, "the sum of both less x",
        ),
        "PAM_Module CAM_Module",
    ),
    "danet_position": (
        Original(f"{DANET} PAM_Module", "da_att.py", "64", lambda m, s: m.PAM_Module(64), PLAIN),
        "PAM_Module",
    ),
    "criss_cross": (
        Original(
            CC, "cc.py", "64, applied twice", lambda m, s: Repeated(m.CrissCrossAttention(64), 2), PLAIN, NO_CUDA
        ),
        "INF CrissCrossAttention",
    ),
    "criss_cross_once": (
        Original(CC, "cc.py", "64", lambda m, s: m.CrissCrossAttention(64), PLAIN, NO_CUDA),
        "INF CrissCrossAttention",
    ),
    "ela": (Original(f"{SCSA}/ELA.py ELA", "ela.py", "64", lambda m, s: m.ELA(64), PLAIN), "ELA"),
    "ela_k5": (Original(f"{SCSA}/ELA.py ELA", "ela.py", "64, 5", lambda m, s: m.ELA(64, 5), PLAIN), "ELA"),
    "strip_pooling": (
        Original(
            "houqb/SPNet@5e97da3:models/resnet.py SPBlock", "sp_resnet.py", "64, 64",
            lambda m, s: Times(m.SPBlock(64, 64, nn.BatchNorm2d)), with_norm(), "multiplied by x, as in its Bottleneck",
        ),
        "SPBlock",
    ),
    "split_attention": (
        Original(SPLAT, "splat.py", "64, 64, 3, groups=1, radix=2, with BN", splat(64, 1, 2), with_norm()),
        "rSoftMax SplAtConv2d",
    ),
    "split_attention_s2": (
        Original(
            SPLAT, "splat.py", "32, 64, 3, groups=2, radix=4, with BN; then AvgPool2d(3, 2, padding=1)",
            lambda m, s: nn.Sequential(splat(32, 2, 4)(m, s), nn.AvgPool2d(3, 2, padding=1)), STRIDED,
        ),
        "rSoftMax SplAtConv2d",
    ),
    "cot": (Original(COT, "cotnet.py", "64, 3", lambda m, s: m.CotLayer(64, 3), with_norm(), NO_KERNEL), "CotLayer"),
    "cot_s2": (
        Original(
            COT, "cotnet.py", "64, 3, after AvgPool2d(3, 2, padding=1)",
            lambda m, s: nn.Sequential(nn.AvgPool2d(3, 2, padding=1), m.CotLayer(64, 3)), with_norm(), NO_KERNEL,
        ),
        "CotLayer",
    ),
    "external": (
        Original(
            "MenghaoGuo/EANet@59c03cb:model_torch.py External_attention", "eanet.py", "64",
            lambda m, s: untied(m.External_attention(64)), with_norm(),
            "SynchronizedBatchNorm2d became BatchNorm2d; linear_1.weight, a view of linear_0.weight, is a copy, as "
            "after a move to a GPU",
        ),
        "External_attention",
    ),
    "scsa": (
        Original(
            f"{SCSA}/SCSA.py SCSA", "scsa.py", "64, 8", lambda m, s: m.SCSA(64, 8),
            (Case("train", (4, 64, 8, 8)), Case("train", (2, 64, 7, 15), full=True)), "einops is a stand-in by reshape",
        ),
        "SCSA",
    ),
    "scsa_w2": (
        Original(
            f"{SCSA}/SCSA.py SCSA", "scsa.py", "64, 4, window_size=2", lambda m, s: m.SCSA(64, 4, window_size=2), PLAIN,
            "einops is a stand-in by reshape",
        ),
        "SCSA",
    ),
    "lsk": (
        Original(
            "zcablii/LSKNet@cbe06ca:mmrotate/models/backbones/lsknet.py LSKblock", "lsknet.py", "64",
            lambda m, s: m.LSKblock(64), PLAIN,
        ),
        "LSKblock",
    ),
    "lska": (Original(LSKA, "van_lska.py", "64, 7", lambda m, s: m.LSKA(64, 7), PLAIN), "LSKA"),
    "lska_k23": (Original(LSKA, "van_lska.py", "64, 23", lambda m, s: m.LSKA(64, 23), PLAIN), "LSKA"),
    "parnet": (
        Original(PARNET, "repvgg.py parnet_utils.py", "64, 64, 3, SSE, swish", parnet(64, 1), with_norm()),
        "conv_bn autopad ConvSig SE1 RepVGGBlock",
    ),
    "parnet_s2": (
        Original(
            PARNET, "repvgg.py parnet_utils.py", "32, 64, 3, stride=2, SSE, swish", parnet(32, 2),
            with_norm(32, 8, (6, 10)),
        ),
        "conv_bn autopad ConvSig SE1 RepVGGBlock",
    ),
    "ese": (
        Original(
            "youngwanLEE/vovnet-detectron2@b81c813:vovnet/vovnet.py eSEModule", "vovnet.py", "64",
            lambda m, s: m.eSEModule(64), PLAIN,
        ),
        "Hsigmoid eSEModule",
    ),
    "mlca": (Original(MLCA, "mlca.py", "64", lambda m, s: m.MLCA(64), PLAIN), "MLCA"),
    "mlca_g3": (
        Original(
            MLCA, "mlca.py", "64, local_size=3, local_weight=0.25",
            lambda m, s: m.MLCA(64, local_size=3, local_weight=0.25), PLAIN,
        ),
        "MLCA",
    ),
    "csra": (Original(CSRA, "csra.py", "1, 0.1, 64, 10", lambda m, s: m.MHA(1, 0.1, 64, 10), PLAIN), "CSRA MHA"),
    "csra_h4": (Original(CSRA, "csra.py", "4, 0.3, 64, 10", lambda m, s: m.MHA(4, 0.3, 64, 10), PLAIN), "CSRA MHA"),
    "soca": (
        Original(SOCA, "san.py MPNCOV.py", "64", lambda m, s: m.SOCA(64), PLAIN),
        "Covpool Sqrtm CovpoolLayer SqrtmLayer SOCA",
    ),
    "soca_r16": (
        Original(SOCA, "san.py MPNCOV.py", "64, 16", lambda m, s: m.SOCA(64, 16), PLAIN),
        "Covpool Sqrtm CovpoolLayer SqrtmLayer SOCA",
    ),
    "axial": (
        Original(
            AXIAL, "axialnet.py axial_utils.py", "64, 64, kernel_size=7, twice, then ReLU", axial(64, 1, 8), SEVEN
        ),
        "qkv_transform AxialAttention",
    ),
    "axial_s2": (
        Original(
            AXIAL, "axialnet.py axial_utils.py", "32 and 64, 64, groups=4, kernel_size=8, twice, stride=2, then ReLU",
            axial(32, 2, 4), with_norm(32, 8, (8, 8)),
        ),
        "qkv_transform AxialAttention",
    ),
}  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    for wanted in sys.argv[2:] or ORIGINALS:
        chosen, names = ORIGINALS[wanted]
        if wanted in SEEDS:
            chosen = replace(chosen, seed=f"attnlab-{SEEDS[wanted]}")
        written = write(wanted, chosen, taken(chosen.file, names, Path(sys.argv[1])))
        print(f"{written.name:24} {written.stat().st_size:7} bytes")

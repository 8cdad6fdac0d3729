"""Our names and the originals' for the modules of tests/reference/make_modules.py; the form of test_parity.PAIRS."""

EMA = {"score.strips": "conv1x1", "score.norm": "gn", "score.local": "conv3x3"}
SHUFFLE = {
    "gate.score.channel_weight": "cweight", "gate.score.channel_bias": "cbias", "gate.score.spatial_weight": "sweight",
    "gate.score.spatial_bias": "sbias", "gate.score.norm": "gn",
}  # fmt: skip
POLARIZED = {
    "channel.score.query": "conv_q_right", "channel.score.value": "conv_v_right", "channel.score.expand": "conv_up",
    "spatial.score.query": "conv_q_left", "spatial.score.value": "conv_v_left",
}  # fmt: skip
EPSA = {f"paths.{n}": f"0.conv_{n + 1}" for n in range(4)} | {
    "excite.reduce": "0.se.fc1", "excite.expand": "0.se.fc2", "norm": "1",
}  # fmt: skip
QUERY_KEY_VALUE = {"query": "query_conv", "key": "key_conv", "value": "value_conv", "amount": "gamma"}
POSITION = {f"parts.position.{ours}": theirs for ours, theirs in QUERY_KEY_VALUE.items()}
ELA = {"conv": "conv", "norm": "gn"}
SPLAT = {"conv": "conv", "norm": "bn0", "reduce": "fc1", "reduce_norm": "bn1", "expand": "fc2"}
COT = {
    "keys": "key_embed", "kernels": "embed", "values": "conv1x1", "norm": "bn", "select": "se",
}  # fmt: skip
SCSA = {f"convs.{n}": name for n, name in enumerate(("local_dwc", "global_dwc_s", "global_dwc_m", "global_dwc_l"))} | {
    "rows_norm": "norm_h", "columns_norm": "norm_w", "channel.score.norm": "norm", "channel.score.query": "q",
    "channel.score.key": "k", "channel.score.value": "v",
}  # fmt: skip
LSKA = {f"score.layers.{n}": name for n, name in
        enumerate(("conv0h", "conv0v", "conv_spatial_h", "conv_spatial_v", "conv1"))}  # fmt: skip
PARNET = {"dense.0": "rbr_dense.conv", "dense.1": "rbr_dense.bn", "gate": "se.cvsig.conv"}
MLCA = {"cells.score.conv": "conv_local", "map.score.conv": "conv"}
SOCA = {"score.excite.reduce": "conv_du.0", "score.excite.expand": "conv_du.2"}
AXIAL = {
    f"{axis}.{ours}": f"{n}.{theirs}"
    for n, axis in enumerate(("columns", "rows"))
    for ours, theirs in (
        ("project", "qkv_transform"), ("project_norm", "bn_qkv"), ("score_norm", "bn_similarity"),
        ("out_norm", "bn_output"), ("distances", "relative"),
    )
}  # fmt: skip

MODULE_PAIRS: dict[str, tuple[list[str], dict[str, str], set[str]]] = {
    "ema": (["attention=ema", "attention.groups=32"], EMA, set()),
    "ema_g8": (["attention=ema", "attention.groups=8"], EMA, set()),
    "shuffle_attention": (["attention=shuffle_attention"], SHUFFLE, set()),
    "shuffle_attention_g4": (["attention=shuffle_attention", "attention.groups=4"], SHUFFLE, set()),
    "nam": (["attention=nam"], {"score.norm": "Channel_Att.bn2"}, set()),
    "nam_spatial": (["attention=nam_spatial"], {"score.norm": "bn"}, set()),
    "polarized_parallel": (["attention=polarized_parallel"], POLARIZED, set()),
    "polarized_sequential": (["attention=polarized_sequential"], POLARIZED, set()),
    "epsa": (["attention=epsa"], EPSA, set()),
    "epsa_s2": (["attention=epsa", "attention.reduction=4"], EPSA, set()),
    "danet": (
        ["attention=danet"],
        {f"parts.position.{ours}": f"position.{theirs}" for ours, theirs in QUERY_KEY_VALUE.items()}
        | {"parts.channel.amount": "channel.gamma"},
        set(),
    ),
    "danet_position": (["attention=danet", "attention.parts=position"], POSITION, set()),
    "criss_cross": (
        ["attention=criss_cross"],
        {ours: f"layer.{theirs}" for ours, theirs in QUERY_KEY_VALUE.items()},
        set(),
    ),
    "criss_cross_once": (["attention=criss_cross", "attention.recurrence=1"], QUERY_KEY_VALUE, set()),
    "ela": (["attention=ela"], ELA, set()),
    "ela_k5": (["attention=ela", "attention.kernel_size=5"], ELA, set()),
    "strip_pooling": (
        ["attention=strip_pooling"],
        {
            "score.rows": "score.conv1",
            "score.rows_norm": "score.bn1",
            "score.columns": "score.conv2",
            "score.columns_norm": "score.bn2",
            "score.mix": "score.conv3",
        },
        set(),
    ),
    "split_attention": (["attention=split_attention"], SPLAT, set()),
    "split_attention_s2": (
        ["attention=split_attention", "attention.radix=4", "attention.groups=2"],
        {ours: f"0.{theirs}" for ours, theirs in SPLAT.items()},
        set(),
    ),
    "cot": (["attention=cot"], COT, set()),
    "cot_s2": (["attention=cot"], {ours: f"1.{theirs}" for ours, theirs in COT.items()}, set()),
    "external": (
        ["attention=external"],
        {"enter": "conv1", "keys": "linear_0", "values": "linear_1", "leave": "conv2.0", "norm": "conv2.1"},
        set(),
    ),
    "scsa": (["attention=scsa"], SCSA, set()),
    "scsa_w2": (["attention=scsa", "attention.heads=4", "attention.window=2"], SCSA, set()),
    "lsk": (
        ["attention=lsk"],
        {
            "score.near": "conv0",
            "score.wide": "conv_spatial",
            "score.reduce_near": "conv1",
            "score.reduce_wide": "conv2",
            "score.choose": "conv_squeeze",
            "score.expand": "conv",
        },
        set(),
    ),
    "lska": (["attention=lska"], LSKA, set()),
    "lska_k23": (["attention=lska", "attention.kernel_size=23"], LSKA, set()),
    "parnet": (
        ["attention=parnet"],
        PARNET | {"point.0": "rbr_1x1.conv", "point.1": "rbr_1x1.bn", "norm": "rbr_identity"},
        set(),
    ),
    "parnet_s2": (["attention=parnet"], PARNET | {"point.0": "rbr_1x1.1.conv", "point.1": "rbr_1x1.1.bn"}, set()),
    "ese": (["attention=ese"], {"score.excite": "fc"}, set()),
    "mlca": (["attention=mlca"], MLCA, set()),
    "mlca_g3": (["attention=mlca", "attention.grid=3", "attention.local=0.25"], MLCA, set()),
    "soca": (["attention=soca"], SOCA, set()),
    "soca_r16": (["attention=soca", "attention.reduction=16"], SOCA, set()),
    "axial": (["attention=axial"], AXIAL, set()),
    "axial_s2": (["attention=axial", "attention.heads=4"], AXIAL, set()),
}

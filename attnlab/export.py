"""Export a finished run's network: `python -m attnlab.export run=ID format=onnx|torch_export [output_dir=DIR]`.

run: an id or its first characters, last, a printed name, or values: run="attention=se seed=0".
The file maps normalised images (B, 3, H, W) to logits (B, classes), B free, and needs no attnlab. It is written to
OUTPUT_DIR/<id>/net.onnx or net.pt2 after it has given the network's logits: in onnxruntime, or in torch.
format=onnx needs the extra attnlab[onnx].
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from attnlab.configuration.cli import command_line
from attnlab.configuration.messages import missing, unknown_choice, unknown_key
from attnlab.errors import ConfigError
from attnlab.records.source_code import print_warnings
from attnlab.tables.named_run import RUN, named_run

FORMATS = ("onnx", "torch_export")
KEYS = ("run", "format", "output_dir")


def export(arguments: Sequence[str]) -> tuple[Path, float]:
    """Export the run that the arguments name; return the file and the largest difference of a logit."""
    if bare := [argument for argument in arguments if "=" not in argument]:
        raise ConfigError(f"wrong argument {bare[0]}; allowed is KEY=VALUE, as run=ID")
    values = dict(argument.split("=", 1) for argument in arguments)
    if unknown := [key for key in values if key not in KEYS]:
        raise ConfigError(unknown_key(unknown[0], KEYS))
    if "run" not in values:
        raise ConfigError(missing("run", f"a finished run: {RUN}"))
    if values.get("format") not in FORMATS:
        raise ConfigError(unknown_choice("format", values.get("format", "null"), FORMATS))
    output_dir = values.get("output_dir", "outputs")
    run = named_run(values["run"], output_dir)
    from attnlab.models.export_net import export_run  # imports torch; the checks above need none

    return export_run(run, output_dir, values["format"])


@command_line()
def main() -> None:
    """The command line."""
    if {"-h", "--help"} & set(sys.argv[1:]) or len(sys.argv) == 1:
        print(__doc__)
        return
    print_warnings()
    path, difference = export(sys.argv[1:])
    print(f"wrote {path}; its logits differ from the network's by at most {difference:.1e}")


if __name__ == "__main__":
    main()

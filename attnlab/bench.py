"""Measure costs on this machine: python -m attnlab.bench COMMAND [overrides of attnlab.run] [own keys]

zoo         the menu of attentions: kind, place, parameters, MACs, source          format=table|csv|markdown
gates       one gate, forward and backward, against timm's and our plain form      attention=se,cbam shapes=128x16x32x32
step        a training step against float32, NCHW, eager; what an attention adds   attention=none,se,cbam  compiled=true
data        augmented images per second against torchvision in a DataLoader
overhead    a step of Lightning and our classifier against a bare PyTorch loop
roofline    a gate against the time its bytes take to move                         attention=se,cbam shapes=128x16x32x32
latency     inference with an attention over none: eager, compiled, CUDA graph, ONNX; attention=se,cbam | table=NAME
            batches=1,128 engines=eager,compiled,graph,onnx
gpu         is a step as a CUDA graph the step itself? how fast are runs, one and many?  seconds=240 steps=50 parts=...
same        do runs repeated in another folder have the same errors?               OUTPUT_DIR OTHER  json=FILE
show        print the tables of earlier JSON files                                 FILE ... format=table|markdown

repeats=N: rounds (11); each round times every side once, in turn;  json=FILE: file for all measured times
(OUTPUT_DIR/bench/COMMAND.json). The first column of a table is a ratio of times, with its median and quartiles over the
rounds; the times of both sides follow.
machine.threads=1, machine.precision=32-true, model=resnet56 ...: as of attnlab.run.
"""

import sys

from attnlab.benchmarks.commands import COMMANDS, gpu_bars, measure, menu, same_runs, show_again
from attnlab.benchmarks.zoo import COLUMNS, zoo
from attnlab.configuration.cli import command_line
from attnlab.errors import ConfigError

__all__ = ["COLUMNS", "COMMANDS", "measure", "zoo"]


@command_line()
def main() -> None:
    """The command line."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments) or not arguments:
        print(__doc__)
        return
    command, *rest = arguments
    if command == "zoo":
        menu(rest)
    elif command == "show":
        show_again(rest)
    elif command == "same":
        same_runs(rest)
    elif command == "gpu":
        gpu_bars(rest)
    elif command not in COMMANDS:
        raise ConfigError(f"unknown command {command}; allowed are zoo, {', '.join(COMMANDS)}, gpu, same, show")
    else:
        from attnlab.benchmarks import report

        found, path = measure(command, rest)
        report.show(found)
        print(f"written to {path}")


if __name__ == "__main__":
    main()

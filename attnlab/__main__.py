"""attnlab: the laboratory for attention in CNNs.

python -m attnlab.run       train one run, a sweep (-m) or a table (table=NAME); attnlab is the same command
python -m attnlab.runs      list the runs of a folder: name, state, error, time, date
python -m attnlab.report    tables from records: mean, intervals, tests, figures
python -m attnlab.look      draw where a finished run looks
python -m attnlab.judge     does the attention of a finished run look at the object, and does it have an effect?
python -m attnlab.evaluate  test a finished run on another dataset or split
python -m attnlab.export    write the network of a finished run as ONNX or as torch.export's format
python -m attnlab.bench     measure costs on this machine
python -m attnlab.demo      the demo: train, judge, draw and print fifteen small networks

Each has --help. `python -m attnlab --version` prints the version. In Python: help(attnlab).
"""

import sys

import attnlab
from attnlab.configuration.cli import command_line
from attnlab.errors import ConfigError


@command_line()
def main() -> None:
    """Print what there is, or the version."""
    if "--version" in sys.argv[1:]:
        print(f"attnlab {attnlab.__version__}")
        return
    if unknown := [argument for argument in sys.argv[1:] if argument not in ("-h", "--help")]:
        raise ConfigError(f"wrong argument {unknown[0]}; allowed is --version; python -m attnlab lists the commands")
    print(__doc__)


if __name__ == "__main__":
    main()

"""The table of a sweep and its figures in the tracker, with tracker.report=true: a run of their own, beside the others.

W&B gets the rows as a table, the figures as media and all files as an artifact; MLflow gets rows and files.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.configuration.secrets import first_line
from attnlab.training import mlflow_run, wandb_run


def send_report(settings: Mapping[str, Any], name: str, files: Sequence[Path], output_dir: Path) -> str:
    """Send a report; returns a line that says where it is, or why it could not be sent.

    settings: the config's section `tracker`;  name: of the table or sweep;  files: those of the report, of which one
    is a CSV file with the rows;  output_dir: of the sweep.
    """
    send = {"wandb": _to_wandb, "mlflow": _to_mlflow}[settings["kind"]]
    try:
        return f"tracker={settings['kind']}: {send(settings, name, files, output_dir)}"
    except Exception as error:  # a server's fault must not fail a sweep that has ended
        return f"tracker={settings['kind']}: the report was not sent ({first_line(error)}); its files are written"


def _to_wandb(settings: Mapping[str, Any], name: str, files: Sequence[Path], output_dir: Path) -> str:
    import pandas as pd
    import wandb

    mode: Any = "online" if wandb_run.is_online(settings) else "offline"
    run = wandb.init(
        project=settings["project"], entity=settings["entity"], name=settings["name"] or f"report {name}",
        group=settings["group"] or name, job_type="report", tags=[*settings["tags"], "report"], dir=str(output_dir),
        mode=mode, reinit="create_new", settings=wandb_run.settings(),
    )  # fmt: skip
    pictures = {path.stem: wandb.Image(str(path)) for path in files if path.suffix == ".png"}
    tables = {path.stem: wandb.Table(dataframe=pd.read_csv(path)) for path in files if path.suffix == ".csv"}
    run.log({f"figures/{stem}": picture for stem, picture in pictures.items()})
    run.log({f"tables/{stem}": table for stem, table in tables.items()})
    artifact = wandb.Artifact(_artifact_name(name), type="report")
    for path in files:
        artifact.add_file(str(path))
    run.log_artifact(artifact)
    run.finish()
    return f"report {name} in the project {settings['project']}, {len(files)} files"


def _to_mlflow(settings: Mapping[str, Any], name: str, files: Sequence[Path], output_dir: Path) -> str:
    from lightning.pytorch.loggers import MLFlowLogger

    where = mlflow_run.store(settings, output_dir)
    title = settings["name"] or f"report {name}"
    logger = MLFlowLogger(settings["project"], title, where.uri, {"report": name}, artifact_location=where.files)
    for path in files:
        logger.experiment.log_artifact(logger.run_id, str(path))
    logger.finalize("success")
    return f"report {name} in the experiment {settings['project']}, {len(files)} files"


def _artifact_name(name: str) -> str:
    """W&B allows letters, digits, -, _ and . in an artifact's name."""
    return "report-" + "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)

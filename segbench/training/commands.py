"""``segbench fit|validate|test|predict``."""

import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException

from segbench.data.check import check_data_set
from segbench.errors import InputError
from segbench.logged import SWEEP
from segbench.runs import RunFolder
from segbench.task import DivergedError
from segbench.training.checkpoints import best_and_last
from segbench.training.config import SegbenchCLI
from segbench.training.context import idle_rates
from segbench.training.precision import slow_precision
from segbench.training.progress import EpochProgress
from segbench.training.randomness import EpochSeed
from segbench.training.recorder import FitRecorder, PredictionWriter, TestRecorder
from segbench.training.resume import (
    TO_GO_ON,
    changed_keys,
    checkpoint,
    claimed,
    first_process,
    load_weights,
)


def fit(argv: list[str]) -> None:
    """Train, then test the best checkpoint once; leave a complete run folder."""
    cli = _open("fit", argv)
    arm = cli.arm()
    with claimed(cli.config, cli.config_text, arm) as run:
        if run.finished() and (run.counts.exists() or not cli.config["test"]):
            print(f"{run.path}: finished already; nothing to do")
        else:
            _fit(cli, run, arm)


def _fit(cli: SegbenchCLI, run: RunFolder, arm: dict[str, Any]) -> None:
    start = checkpoint(cli.config["ckpt_path"], run, needs=TO_GO_ON)
    if start is not None:
        load_weights(cli.model, start)  # are they this network's?
    check_data_set(cli.datamodule.data_set)  # before anything is written or logged
    _warn(idle_rates(cli.model.network, cli.datamodule.crop_size))
    config = yaml.safe_load(cli.config_text)
    recorder = FitRecorder(run, config, cli.config_text, arm)
    callbacks: list[Any] = [EpochSeed(config["seed_everything"])]
    if config["trainer"]["enable_progress_bar"] is not False:
        callbacks.append(EpochProgress())
    loggers: list[Any] = []
    if config["wandb"] or SWEEP in os.environ:
        from segbench.training.wandb import EarlierEpochs, PredictionPanels, wandb_logger

        loggers.append(wandb_logger(run, config))
        callbacks += [
            EarlierEpochs(loggers[0], lambda: recorder.rows),
            PredictionPanels(loggers[0]),
        ]
    callbacks += [recorder, *best_and_last(run), TestRecorder(run)]
    trainer = cli.trainer_for(
        callbacks=callbacks, logger=loggers, default_root_dir=str(run.path.parent)
    )
    _warn(slow_precision(trainer))
    try:
        trainer.fit(cli.model, cli.datamodule, ckpt_path=start, weights_only=True)
        load_weights(cli.model, run.best)
        if config["test"]:
            trainer.test(cli.model, cli.datamodule, verbose=False)
    except DivergedError as diverged:
        _test_what_was_good(cli, run, diverged, trainer.world_size)
        _log_run_folder(loggers, run, trainer)
        sys.exit(1)
    except ValueError as error:
        raise _known(error) from None
    except SystemExit:
        # Lightning's answer to Ctrl-C and SIGTERM, once everything is put away
        raise SystemExit(_say_how_to_go_on(run, recorder.stopped_by)) from None
    _log_run_folder(loggers, run, trainer)
    if trainer.is_global_zero:
        _say_goodbye(run)


def _warn(of: str | None) -> None:
    if of is not None and first_process():
        print(f"segbench: {of}", file=sys.stderr)


def _log_run_folder(loggers: list[Any], run: RunFolder, trainer: Trainer) -> None:
    if loggers and trainer.is_global_zero:
        from segbench.training.wandb import log_run_folder

        log_run_folder(loggers[0], run)


def validate(argv: list[str]) -> None:
    """Score a checkpoint on the validation split."""
    _evaluate("validate", argv)


def test(argv: list[str]) -> None:
    """Score a checkpoint on the test split; the run folder stays as it is."""
    _evaluate("test", argv)


def predict(argv: list[str]) -> None:
    """Write the predictions of a checkpoint for the test split."""
    cli = _open("predict", argv)
    load_weights(cli.model, _source(cli))
    data = Path(cli.config["data"]["root"]).resolve().name
    writer = PredictionWriter(Path("runs") / "predict" / data)
    trainer = cli.trainer_for(callbacks=[writer], enable_checkpointing=False)
    trainer.predict(cli.model, cli.datamodule, return_predictions=False)
    if trainer.is_global_zero:
        print(f"predictions in {writer.folder / 'predictions'}")


VERBS = {
    verb.__name__: (verb.__doc__ or "").splitlines()[0] for verb in (fit, validate, test, predict)
}


def _evaluate(verb: str, argv: list[str]) -> None:
    cli = _open(verb, argv)
    load_weights(cli.model, _source(cli))
    trainer = cli.trainer_for(enable_checkpointing=False)
    evaluate = trainer.validate if verb == "validate" else trainer.test
    scores = evaluate(cli.model, cli.datamodule, verbose=False)
    if trainer.is_global_zero:
        for name, value in sorted({k: v for part in scores for k, v in part.items()}.items()):
            print(f"{name:32s} {value:.4f}")


def _source(cli: SegbenchCLI) -> Path:
    """The checkpoint to look at, of the network and the images that the configuration names."""
    config = cli.config
    if config["run_dir"] is None and config["ckpt_path"] in (None, "best", "last"):
        raise InputError("give the run to look at with --run_dir, or a file with --ckpt_path")
    run = RunFolder(Path(config["run_dir"] or "."))
    if run.record.exists():
        others = changed_keys(run.read_config(), yaml.safe_load(cli.config_text))
        same = ("model.", "data.fold")  # of another split, its training images would be scored
        if others := [key for key in others if key.startswith(same)]:
            raise InputError(
                f"--run_dir {run.path}: its run has another {', '.join(others)}; give "
                f"--config {run.config}"
            )
    found = checkpoint(config["ckpt_path"] or "best", run)
    if found is None:
        raise InputError(f"--run_dir {run.path}: its first epoch has not ended; nothing to score")
    return found


def _test_what_was_good(
    cli: SegbenchCLI, run: RunFolder, diverged: DivergedError, processes: int
) -> None:
    _warn(f"{run.path}: {diverged}")
    if run.best.exists() and processes == 1 and cli.config["test"]:
        # its score counts in a comparison, and is marked there
        load_weights(cli.model, run.best)
        trainer = cli.trainer_for(callbacks=[TestRecorder(run)], enable_checkpointing=False)
        trainer.test(cli.model, cli.datamodule, verbose=False)


def _known(error: ValueError) -> Exception:
    if "more than 1 value per channel" in str(error):
        return InputError(
            "data.batch_size: this network's batch norm needs more than one crop at a time; "
            "give 2 or more"
        )
    return error


def _say_how_to_go_on(run: RunFolder, stopped_by: BaseException | None) -> int:
    if first_process():
        begun = run.record.exists()
        said = (
            f"stopped; go on with: {run.go_on}" if begun else "stopped before anything was written"
        )
        print(said, file=sys.stderr)
    # as a shell reports the two signals
    return 128 + (signal.SIGTERM if isinstance(stopped_by, SIGTERMException) else signal.SIGINT)


def _say_goodbye(run: RunFolder) -> None:
    record = run.read_record()
    seconds, scores = record["seconds"], record["scores"]
    match scores.get("test"):
        case None:
            tested = "not tested"
        case {"mean_iou": None}:
            tested = "no test pixel is labelled"
        case test:
            tested = f"test mean IoU {test['mean_iou']:.3f}"
    match scores["val"]:
        case {"mean_iou": None}:
            validated = "no val pixel is labelled"
        case val:
            validated = f"val {val['mean_iou']:.3f} at epoch {record['best_epoch'] + 1}"
    print(
        f"{run.path}: {tested}, {validated}; "
        f"{record['steps']} steps in {seconds['fit']:.0f} s, "
        f"{record['parameters'] / 1e6:.1f} M parameters\n"
        f"all runs beside it: segbench runs {run.path.parent}"
    )


def _open(verb: str, argv: list[str]) -> SegbenchCLI:
    _quiet()
    return SegbenchCLI(verb, VERBS[verb], argv)


def _quiet() -> None:
    """Silence what Lightning says of itself, and the warnings that our users need not mend."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Lightning 2.6 with torch 2.14: nothing a user could mend
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
    # a run that goes on finds its own
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    # loading in the training process is the default on purpose
    warnings.filterwarnings("ignore", ".*does not have many workers.*")

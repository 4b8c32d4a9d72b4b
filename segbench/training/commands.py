"""``segbench fit|validate|test|predict``."""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, Namespace
from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from segbench.data.classes import read_classes
from segbench.data.datamodule import SegmentationData
from segbench.errors import InputError
from segbench.runs import RunFolder, free_path
from segbench.task import SegmentationTask
from segbench.training.checkpoints import AtomicCheckpointIO, best_and_last
from segbench.training.memory import keep_freed_memory
from segbench.training.pictures import make_prediction_folders, write_prediction
from segbench.training.progress import EpochProgress
from segbench.training.recorder import FitRecorder, TestRecorder

PLACES = ("config", "run_dir", "ckpt_path")
"""Arguments that say where things lie; they are no part of a run's configuration."""


class SegbenchCLI(LightningCLI):
    """Flat typed keys: model.*, data.*, trainer.*, seed_everything, wandb; places beside them."""

    def __init__(self, verb: str, argv: list[str]) -> None:
        self.verb = verb
        self.argv = argv
        super().__init__(
            SegmentationTask,
            SegmentationData,
            save_config_callback=None,
            run=False,
            auto_configure_optimizers=False,
            args=argv,
            trainer_defaults={
                "max_epochs": 30,
                "num_sanity_val_steps": 0,  # the data set is checked before the fit anyway
                "enable_model_summary": False,
                # our samplers share the draws out themselves, so that none is counted twice
                "use_distributed_sampler": False,
            },
            parser_kwargs={
                "prog": f"segbench {verb}",
                "description": VERBS[verb],
                "exit_on_error": False,
            },
        )

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--seed_everything",
            type=int,
            default=0,
            help="Seed of initialisation, order of samples, crops and augmentation.",
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--wandb",
            type=bool,
            default=False,
            help="Log to Weights & Biases too: online where a key is at hand, else offline.",
        )
        parser.add_argument(
            "--keep_freed_memory",
            type=bool,
            default=True,
            help="Let malloc keep freed tensors' memory: up to 1.5 x faster on a CPU.",
        )
        parser.add_argument(
            "--run_dir",
            type=str | None,
            help="The run folder. By default runs/<data set>/<network>_seed-<n>, numbered.",
        )
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            help="A checkpoint, or best or last of --run_dir. For fit: go on from there.",
        )
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("data.root", "model.num_classes", compute_fn=_count_classes)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            self.config = parser.parse_args(args)
        except ArgumentError as error:
            raise _one_line(error) from None

    def before_instantiate_classes(self) -> None:
        if self.config["keep_freed_memory"]:
            keep_freed_memory()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Deferred to :meth:`trainer_for`: what it needs depends on the run folder."""
        return None  # type: ignore[return-value]

    def trainer_for(self, **kwargs: Any) -> Trainer:
        """The trainer of the configuration, with our parts beside the user's."""
        given = self.config_init["trainer"]
        kwargs["callbacks"] = _listed(given["callbacks"]) + kwargs.get("callbacks", [])
        kwargs["logger"] = _listed(given["logger"]) + kwargs.get("logger", [])
        kwargs["plugins"] = [*_listed(given["plugins"]), AtomicCheckpointIO()]
        return super().instantiate_trainer(enable_progress_bar=False, **kwargs)

    def resolved(self) -> str:
        """config.yaml: every key with its value, the linked ones too."""
        config = self.config.clone()
        for place in PLACES:
            config.pop(place, None)
        text: str = self.parser.dump(config, skip_link_targets=False, skip_unset=False)
        return text

    def arm(self) -> dict[str, Any]:
        """What was given beside the first configuration file, dotted: what this run varies."""
        rest, first = [], True
        args = iter(self.argv)
        for arg in args:
            if first and arg in ("-c", "--config"):
                next(args)
                first = False
            elif first and arg.startswith("--config="):
                first = False
            else:
                rest.append(arg)
        # the sources of links must be there; they are left out again below
        sources = (f"--{key}={self.config[key]}" for key in ("seed_everything", "data.root"))
        given = self.parser.parse_args([*sources, *rest], defaults=False)
        linked = {"data.seed", "model.num_classes"}
        leave_out = {*PLACES, *linked, "seed_everything", "data.root", "data.fold"}
        return {
            key: value
            for key, value in given.as_flat().__dict__.items()
            if key not in leave_out and key.startswith(("model.", "data."))
        }


def fit(argv: list[str]) -> None:
    """Train, then test the best checkpoint once; leave a complete run folder."""
    _quiet()
    cli = SegbenchCLI("fit", argv)
    run = _claim(cli.config)
    config_text = cli.resolved()
    config = yaml.safe_load(config_text)
    ckpt_path = _checkpoint(cli.config, run)
    callbacks: list[Any] = [
        FitRecorder(run, config, config_text, cli.arm()),
        best_and_last(run),
        TestRecorder(run),
    ]
    if cli.config["trainer"]["enable_progress_bar"] is not False:
        callbacks.insert(0, EpochProgress())
    loggers: list[Any] = []
    if cli.config["wandb"]:
        from segbench.training.wandb import PredictionPanels, wandb_logger

        run.path.mkdir(parents=True, exist_ok=True)
        loggers.append(wandb_logger(run.path, config))
        callbacks.insert(0, PredictionPanels(loggers[0]))
    trainer = cli.trainer_for(
        callbacks=callbacks, logger=loggers, default_root_dir=str(run.path.parent)
    )
    trainer.fit(cli.model, cli.datamodule, ckpt_path=ckpt_path, weights_only=True)
    trainer.test(
        cli.model, cli.datamodule, ckpt_path=str(run.best), verbose=False, weights_only=True
    )
    if trainer.is_global_zero:
        _say_goodbye(run)


def validate(argv: list[str]) -> None:
    """Score a checkpoint on the validation split."""
    _evaluate("validate", argv)


def test(argv: list[str]) -> None:
    """Score a checkpoint on the test split; the run folder stays as it is."""
    _evaluate("test", argv)


def predict(argv: list[str]) -> None:
    """Write the predictions of a checkpoint for the test split."""
    _quiet()
    cli = SegbenchCLI("predict", argv)
    source = _source(cli.config)
    out = free_path(Path("runs") / "predict" / Path(cli.config["data"]["root"]).name)
    trainer = cli.trainer_for(enable_checkpointing=False)
    outputs = trainer.predict(cli.model, cli.datamodule, ckpt_path=source, weights_only=True)
    make_prediction_folders(out)
    for output in outputs or []:
        write_prediction(out, output)  # type: ignore[arg-type]
    print(f"{len(outputs or [])} predictions in {out / 'predictions'}")


VERBS = {
    verb.__name__: (verb.__doc__ or "").splitlines()[0] for verb in (fit, validate, test, predict)
}


def _evaluate(verb: str, argv: list[str]) -> None:
    _quiet()
    cli = SegbenchCLI(verb, argv)
    source = _source(cli.config)
    trainer = cli.trainer_for(enable_checkpointing=False)
    evaluate = trainer.validate if verb == "validate" else trainer.test
    scores = evaluate(cli.model, cli.datamodule, ckpt_path=source, verbose=False, weights_only=True)
    for name, value in sorted({k: v for part in scores for k, v in part.items()}.items()):
        print(f"{name:32s} {value:.4f}")


def _claim(config: Namespace) -> RunFolder:
    """The folder this run may write into."""
    wanted: str | None = config["run_dir"]
    if wanted is None:
        # children that Lightning starts for further devices share the choice of the first
        chosen = os.environ.get("SEGBENCH_RUN_DIR")
        if chosen is None:
            model, data = config["model"], config["data"]
            network = "-".join(filter(None, (model["architecture"], model["backbone"])))
            slug = f"{network}_seed-{config['seed_everything']}"
            chosen = str(free_path(Path("runs") / Path(data["root"]).resolve().name / slug))
            os.environ["SEGBENCH_RUN_DIR"] = chosen
        return RunFolder(Path(chosen))
    run = RunFolder(Path(wanted))
    if run.record.exists() and config["ckpt_path"] is None and not os.environ.get("LOCAL_RANK"):
        raise InputError(
            f"--run_dir {wanted}: holds a run already; go on with it by --ckpt_path last, or give "
            "another folder"
        )
    return run


def _checkpoint(config: Namespace, run: RunFolder) -> str | None:
    wanted: str | None = config["ckpt_path"]
    if wanted is None:
        return None
    path = {"best": run.best, "last": run.last}.get(wanted, Path(wanted))
    if not path.is_file():
        raise InputError(f"--ckpt_path {wanted}: there is no {path}")
    return str(path)


def _source(config: Namespace) -> str:
    if config["run_dir"] is None and config["ckpt_path"] in (None, "best", "last"):
        raise InputError("give the run to look at with --run_dir, or a file with --ckpt_path")
    run = RunFolder(Path(config["run_dir"] or "."))
    config["ckpt_path"] = config["ckpt_path"] or "best"
    found = _checkpoint(config, run)
    assert found is not None
    return found


def _say_goodbye(run: RunFolder) -> None:
    record = run.read_record()
    test, seconds = record["scores"]["test"], record["seconds"]
    print(
        f"{run.path}: test mean IoU {test['mean_iou']:.3f}, "
        f"val {record['scores']['val']['mean_iou']:.3f} at epoch {record['best_epoch']}; "
        f"{record['steps']} steps in {seconds['fit']:.0f} s, "
        f"{record['parameters'] / 1e6:.1f} M parameters\n"
        f"all runs beside it: segbench runs {run.path.parent}"
    )


def _listed(value: Any) -> list[Any]:
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _count_classes(root: str) -> int:
    if not Path(root).is_dir():
        raise InputError(
            f"data.root: {root} is not a folder; give your data set with --data.root, or make "
            f"synthetic scenes with: segbench data generate --out {root}"
        )
    return len(read_classes(Path(root) / "classes.json"))


def _one_line(error: ArgumentError) -> InputError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return InputError(" ".join(str(error).split()))


def _quiet() -> None:
    """Silence what Lightning says of itself; its warnings stay, but for two."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Lightning 2.6 with torch 2.14: nothing a user could mend
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
    # loading in the training process is the default on purpose
    warnings.filterwarnings("ignore", ".*does not have many workers.*")

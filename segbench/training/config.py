"""What a run is made of: flat typed keys, from files and the command line."""

import json
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from segbench.data.datamodule import SegmentationData
from segbench.data.dataset import classes_at
from segbench.errors import InputError
from segbench.reading import parse_yaml, read_yaml
from segbench.runs import MACHINE, OUTSIDE_THE_RESULT, RunFolder
from segbench.task import SegmentationTask
from segbench.training.checkpoints import AtomicCheckpointIO
from segbench.training.memory import keep_freed_memory
from segbench.training.resume import begins

PLACES = ("config", "run_dir", "ckpt_path")
"""Arguments that say where things lie; they are no part of a run's configuration."""

NEEDED = {
    "trainer.fast_dev_run": False,
    "trainer.max_steps": -1,
    "trainer.max_time": None,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.val_check_interval": None,
    "trainer.num_sanity_val_steps": 0,
    "trainer.overfit_batches": 0,
    "trainer.limit_train_batches": None,
    "trainer.limit_val_batches": None,
    "trainer.limit_test_batches": None,
    "trainer.use_distributed_sampler": False,
}
"""Keys of Lightning's trainer that a complete run folder does not leave free."""


class SegbenchCLI(LightningCLI):
    """Flat typed keys: model.*, data.*, trainer.*, seed_everything, wandb; places beside them."""

    def __init__(self, verb: str, description: str, argv: list[str]) -> None:
        self.argv, self.built_on = _built_on(argv)
        super().__init__(
            SegmentationTask,
            SegmentationData,
            save_config_callback=None,
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # for nested classes only, and we have none
            args=self.argv,
            trainer_defaults={
                "max_epochs": 30,
                "num_sanity_val_steps": 0,  # the data set is checked before the fit anyway
                "enable_model_summary": False,
                "log_every_n_steps": 1,  # epochs are logged, which may be short
                # our samplers share the draws out themselves, so that none is counted twice
                "use_distributed_sampler": False,
            },
            parser_kwargs={
                "prog": f"segbench {verb}",
                "description": description,
                "exit_on_error": False,
                "allow_abbrev": False,  # a key has one name
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
            "--test",
            type=bool,
            default=True,
            help="End by scoring the best checkpoint on test; false for a search of rates.",
        )
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
            raise _one_line(error, parser) from None
        seed = self.config["seed_everything"]
        if not 0 <= seed < 2**32:
            raise InputError(f"seed_everything: {seed}; give a number from 0 to {2**32 - 1}")

    def before_instantiate_classes(self) -> None:
        for key, value in NEEDED.items():
            if self.config[key] != value:
                raise InputError(
                    f"{key}: {self.config[key]}; a run counts whole epochs and scores whole "
                    f"splits: leave it at {'null' if value is None else value}, and set "
                    "trainer.max_epochs and data.samples_per_epoch"
                )
        if (self.config["trainer.max_epochs"] or 0) < 1:
            raise InputError("trainer.max_epochs: give 1 or more")
        self.config_text = self._resolved()
        run = RunFolder(Path(self.config["run_dir"] or "."))
        if not begins(self.config["ckpt_path"], run):
            self.config["model.pretrained"] = False  # the checkpoint holds every weight
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
        try:
            return super().instantiate_trainer(enable_progress_bar=False, **kwargs)
        except (MisconfigurationException, ValueError) as error:
            raise InputError(f"trainer: {' '.join(str(error).split())}") from None

    def _resolved(self) -> str:
        """config.yaml: every key with its value, the linked ones too."""
        config = self.config.clone()
        for place in PLACES:
            config.pop(place, None)
        text: str = self.parser.dump(config, skip_link_targets=False, skip_unset=False)
        return text

    def arm(self) -> dict[str, Any]:
        """What was given beside the first configuration, dotted: what this run varies.

        A file that a configuration builds on (its key ``config``) counts by its name: that is
        how a study of networks sweeps over whole files.
        """
        if self.built_on is not None:
            return {"config": self.built_on} | self._given()
        return self._given()

    def _given(self) -> dict[str, Any]:
        rest, first = [], True
        of_a_file = [f"--config={config}" for config in _expanded(self.built_on or "{}")]
        for arg in self.argv:
            if arg.startswith("--config=") and (first or arg in of_a_file):
                first = False
            else:
                rest.append(arg)
        # the sources of links must be there; they are left out again below
        sources = (f"--{key}={self.config[key]}" for key in ("seed_everything", "data.root"))
        given = self.parser.parse_args([*sources, *rest], defaults=False)
        linked = {"data.seed", "model.num_classes"}
        cell = {"seed_everything", "data.fold"}  # stand beside the arm in run.json
        leave_out = {*PLACES, *linked, *OUTSIDE_THE_RESULT, *MACHINE, *cell}
        return {
            key: value for key, value in given.as_flat().__dict__.items() if key not in leave_out
        }


def _built_on(argv: list[str]) -> tuple[list[str], str | None]:
    """Arguments with ``--config FILE`` in front of each configuration whose key config is FILE.

    A sweep's cell is one such mapping, inline or as a file that lies anywhere: FILE is looked
    for from the working directory, like every other path on the command line.
    """
    expanded: list[str] = []
    built_on = None
    args = iter(argv)
    for arg in args:
        if arg in ("-c", "--config"):
            arg = f"--config={next(args, '')}"
        if not arg.startswith("--config="):
            expanded.append(arg)
            continue
        config = arg.removeprefix("--config=")
        built_on = _mapping(config).get("config", built_on)
        expanded += [f"--config={part}" for part in _expanded(config)]
    return expanded, built_on


def _expanded(config: str, above: tuple[str, ...] = ()) -> list[str]:
    """A configuration (a file, or JSON) with what it builds on in front of it."""
    content = _mapping(config)
    if "config" not in content:
        return [config]
    built_on = content.pop("config")
    if not isinstance(built_on, str):
        raise InputError(f"config: {built_on}; give the name of one file")
    if built_on in above:
        raise InputError(f"config: {built_on} builds on itself")
    return [*_expanded(built_on, (*above, built_on)), json.dumps(content)]


def _mapping(config: str) -> dict[str, Any]:
    inline = config.startswith("{")
    run = RunFolder(Path(config).parent)
    if not inline and run.config == Path(config) and run.record.exists():
        return run.read_config()  # whole, and as its run began?
    content = parse_yaml(config, "--config") if inline else read_yaml(Path(config))
    if not isinstance(content, dict):
        raise InputError(f"{config}: must map keys to values, such as model: {{width: 32}}")
    return content


def _listed(value: Any) -> list[Any]:
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _count_classes(root: str) -> int:
    return len(classes_at(Path(root)))


def _one_line(error: ArgumentError, parser: LightningArgumentParser) -> InputError:
    """What jsonargparse says in several lines, in one, with the nearest right word."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(error).split())
    if found := re.match(r'Parser key "([^"]*)": (.*)', text):
        key, complaint = found.groups()
        value = complaint.rsplit("value: ", 1)[-1]
        if choices := re.findall(r"Literal\[(.*?)\]", complaint):
            words = [word.strip("' ") for choice in choices for word in choice.split(",")]
            allowed = list(dict.fromkeys(words))
            return InputError(
                f"{key}: {value} is none of {', '.join(allowed)}{_nearest(value, allowed)}"
            )
        if kinds := re.findall(r"Expected a <class '(\w+)'>", complaint):
            names = dict.fromkeys("null" if kind == "NoneType" else kind for kind in kinds)
            return InputError(f"{key}: {value} is no {' or '.join(names)}")
        return InputError(f"{key}: {complaint}")
    for pattern in (
        r"unrecognized arguments: --(?P<key>[\w.]+)",
        r"Group '(?P<group>[\w.]+)' does not accept option '(?P<key>[\w.]+)'",
        r"Option '(?P<key>[\w.]+)' is not accepted",
    ):
        if found := re.match(pattern, text):
            parts = found.groupdict()
            key = ".".join(filter(None, (parts.get("group"), parts["key"])))
            keys = [action.dest for action in parser._actions]
            return InputError(f"{key}: no such key{_nearest(key, keys)}")
    return InputError(text)


def _nearest(word: str, allowed: list[str]) -> str:
    near = get_close_matches(word, allowed, 1)
    return f"; did you mean {near[0]}?" if near else ""

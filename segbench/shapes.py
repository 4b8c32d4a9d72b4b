"""What the files of runs and studies hold, as far as commands rely on it; more may stand there.

Checked when a file is read (runs.py, study/plan.py), since a folder may come from another machine
or another hand.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic asks for it below Python 3.12

Number = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Byte = Annotated[int, Field(ge=0, le=255)]


class Class(TypedDict):
    """One class; its colour is red, green, blue."""

    id: Byte
    name: str
    color: Annotated[list[Byte], Field(min_length=3, max_length=3)]


class Fingerprints(TypedDict):
    """Hashes of what made a run."""

    data: str


class Hardware(TypedDict):
    """What a run ran on."""

    cpu: str
    gpus: list[str]
    threads: int
    accelerator: str
    devices: Count


class Run(TypedDict):
    """run.json from its first moment on."""

    status: Literal["running", "finished", "failed", "diverged"]
    arm: dict[str, Any]
    seed: Count
    fold: Count | None
    fingerprints: Fingerprints
    hardware: Hardware
    parameters: Count
    size_mb: Amount
    classes: list[Class]
    git_commit: NotRequired[str | None]
    versions: NotRequired[dict[str, str]]


class TrainedRun(Run):
    """run.json once it has scores."""

    steps: Count
    seconds: dict[Literal["fit", "val", "test"], Amount]
    images_per_second: Amount
    scores: dict[str, dict[str, Number | None]]
    best_epoch: NotRequired[Count]


class Runtime(TypedDict):
    """Timings of one runtime, in milliseconds."""

    latency_ms: Amount
    blocks_ms: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]


class Benchmark(TypedDict):
    """benchmark.json."""

    measured: str
    runtimes: Annotated[dict[str, Runtime], Field(min_length=1)]
    macs: Count
    parameters: Count
    size_mb: Amount
    peak_memory_mb: Amount | None


class ModelKeys(TypedDict):
    """What a configuration says of the network, as far as tables name it."""

    architecture: str
    backbone: str | None
    aspp: NotRequired[bool | None]
    aspp_rates: NotRequired[list[Positive] | None]
    output_stride: NotRequired[Literal[8, 16, 32] | None]


class DataKeys(TypedDict):
    """What it says of the data."""

    root: str
    crop_size: Positive
    augmentation: NotRequired[str]
    augmentation_strength: NotRequired[Amount]
    eval_tile: NotRequired[Positive | None]
    folds: NotRequired[Count | None]
    fold: NotRequired[Count]


class Config(TypedDict):
    """config.yaml."""

    model: ModelKeys
    data: DataKeys


@with_config(ConfigDict(extra="forbid"))
class Cell(TypedDict):
    """One run of a plan; its name becomes a folder's."""

    name: Annotated[str, Field(pattern=r"^[^/]*[^/.][^/]*$")]
    arm: dict[str, Any]
    seed: Count
    fold: Count | None
    args: dict[str, Any]


class TestedData(TypedDict):
    """What a plan says of its data set."""

    root: str
    fingerprint: str
    images: Count
    groups: Count
    classes: list[str]


class Rules(TypedDict):
    """What a plan fixes of the verdicts; docs/STATISTICS.md says what each means."""

    made: str
    factors: dict[str, Annotated[list[Any], Field(min_length=1)]]
    contrasts: Literal["baseline", "all_pairs"] | list[str]
    metric: str
    margin: Annotated[float, Field(gt=0, lt=1)]
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    power: Annotated[float, Field(ge=0.5, lt=1)]
    seeds: list[Count]
    looks: list[Positive]
    paired: bool
    estimand: Literal["method", "test_set", "checkpoints"]


class Extension(TypedDict):
    """Runs that were added to a plan."""

    kind: str
    factors: dict[str, list[Any]]
    files: dict[str, str]
    cells: list[Cell]
    hash: str


class Plan(TypedDict):
    """study.yaml."""

    name: str
    sweep: str
    created: str
    hash: str
    method: Literal["grid", "random"]
    command: list[Any]
    parameters: dict[str, dict[str, Any]]
    files: dict[str, str]
    data: TestedData
    plan: Rules
    cells: Annotated[list[Cell], Field(min_length=1)]
    extensions: list[Extension]


class WandbSweep(TypedDict):
    """wandb_sweep.json: ENTITY/PROJECT/ID of a study's sweep, and the hashes of its plan."""

    path: Annotated[str, Field(pattern="^[^/]+/[^/]+/[^/]+$")]
    plan: list[str]


RUN = TypeAdapter(Run)
TRAINED_RUN = TypeAdapter(TrainedRun)
BENCHMARK = TypeAdapter(Benchmark)
PROBE = TypeAdapter(dict[str, dict[str, Any]])
CONFIG = TypeAdapter(Config)
PLAN = TypeAdapter(Plan)
WANDB_SWEEP = TypeAdapter(WandbSweep)

"""Where chance comes from, so that a resumed run meets the same."""

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback


class EpochSeed(Callback):
    """Seeds torch at the start of each epoch with (seed, epoch, process).

    Dropout is all that draws from torch's own generator during training. Seeded anew, what it
    drops in epoch e does not depend on whether the epochs before ran in this process.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        place = [self.seed, trainer.current_epoch, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))

"""ImageNet weights from the Hugging Face hub: there, or a clear word within seconds."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from segbench.errors import InputError
from segbench.online import answers


@contextmanager
def fetching_weights(backbone: str) -> Iterator[None]:
    """Around code that loads ImageNet weights of ``backbone``.

    Without a way to the hub its client would retry for 23 s to 397 s; here it is made to look
    into its cache only. Nothing falls back to random weights: that would falsify a comparison.

    Raises:
        InputError: the weights are neither in the cache nor to be fetched.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if not answers(constants.ENDPOINT):
        os.environ["HF_HUB_OFFLINE"] = "1"  # for who imports the client later
        constants.HF_HUB_OFFLINE = True
    try:
        with warnings.catch_warnings():
            # smp asks for True instead of "imagenet" for timm's encoders, and loads either way
            warnings.filterwarnings("ignore", "For 'tu-'")
            yield
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"model.pretrained: the ImageNet weights of {backbone} are neither in the local cache "
            f"({constants.HF_HUB_CACHE}) nor to be fetched from {constants.ENDPOINT} "
            f"({type(error).__name__}); connect once, or set model.pretrained to false"
        ) from None

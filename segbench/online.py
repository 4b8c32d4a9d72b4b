"""Whether a server can be reached, asked before its client would wait for minutes."""

import netrc
import os
import urllib.error
import urllib.request
from urllib.parse import urlparse

from segbench.errors import InputError


def answers(url: str) -> bool:
    """Whether anything answers at ``url`` within 5 seconds; proxies of the environment count."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code < 500  # a page that is not there is an answer; a broken server's is none
    except OSError:
        return False
    return True


def wandb_server() -> str | None:
    """W&B's server, where a key for it is at hand and it answers; WANDB_MODE is obeyed."""
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    if os.environ.get("WANDB_MODE", "online") != "online" or not key_at_hand(server):
        return None
    return server if answers(server) else None


def need_wandb_server(who: str) -> None:
    """Raises InputError, which names ``who`` asked, where :func:`wandb_server` has none."""
    if wandb_server() is None:
        raise InputError(
            f"{who}: needs W&B: a key (wandb login, or WANDB_API_KEY) and a server that answers"
        )


def key_at_hand(server: str) -> bool:
    """Whether the environment or netrc has a key for W&B's ``server``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(server).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False

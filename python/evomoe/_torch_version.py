"""Refuses a torch that the extension was not built for, before it fails with a list of symbols."""

import torch

try:
    from evomoe._build import TORCH_VERSION
except ImportError as error:
    raise ImportError("evomoe is not built here. In a clone of it run: pip install --no-build-isolation ./python (and "
                      "start Python in another folder than python/)") from error


def check(running: str, built_for: str = TORCH_VERSION) -> None:
    if running.split(".")[:2] != built_for.split("."):
        raise ImportError(
            f"evomoe was built for torch {built_for}, but this is torch {running}. Build it for this one: "
            "pip install --no-build-isolation --force-reinstall --no-deps ./python in a clone of evomoe; or install "
            f"torch {built_for}.")


check(torch.__version__)

"""torchvision and timm, also where torchvision was built for GPUs and PyTorch was not.

Then torchvision lacks operators that it extends when it is imported; its networks use none.
"""

import sys

import torch

try:
    import torchvision
except RuntimeError:
    for module in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[module]
    OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        OPERATORS.define(f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    import torchvision

import timm

__all__ = ["timm", "torchvision"]

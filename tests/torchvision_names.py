"""Random weights under the names of torchvision."""

import numpy as np


def random_resnet18(rng):
    """Return random weights of a ResNet-18 with 4 classes under torchvision's names."""
    arrays = {"fc.weight": rng.normal(size=(4, 512)) / 20, "fc.bias": rng.normal(size=4)}

    def add(conv, bn, inputs, outputs, size):
        scale = (inputs * size**2) ** -0.5
        arrays[f"{conv}.weight"] = scale * rng.normal(size=(outputs, inputs, size, size))
        for name in ("weight", "running_var"):
            arrays[f"{bn}.{name}"] = rng.uniform(0.9, 1.1, outputs)
        for name in ("bias", "running_mean"):
            arrays[f"{bn}.{name}"] = rng.normal(size=outputs) / 10

    add("conv1", "bn1", 3, 64, 7)
    inputs = 64
    for stage, outputs in enumerate((64, 128, 256, 512), start=1):
        for block in ("0", "1"):
            name = f"layer{stage}.{block}"
            add(f"{name}.conv1", f"{name}.bn1", inputs, outputs, 3)
            add(f"{name}.conv2", f"{name}.bn2", outputs, outputs, 3)
            if inputs != outputs:
                add(f"{name}.downsample.0", f"{name}.downsample.1", inputs, outputs, 1)
            inputs = outputs
    return {name: np.asarray(array, "float32") for name, array in arrays.items()}

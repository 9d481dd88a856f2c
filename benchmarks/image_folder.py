"""Images per second from a folder of files, beside Keras' and PyTorch's readers.

    KERAS_BACKEND=tensorflow python benchmarks/image_folder.py FOLDER --size 32 [--rounds 5]
    python benchmarks/image_folder.py --make 1000 FOLDER    # JPEGs of 500 x 375 pixels

FOLDER has a folder per class. One epoch of shuffled batches of 256 uint8 images, on two cores, by

- `keras_simclr.datasets.image_folder`, as `fit` reads it,
- `keras.utils.image_dataset_from_directory`, which needs TensorFlow,
- PyTorch's `DataLoader` with two worker processes and what torchvision's `ImageFolder` does: open,
  convert to RGB, resize, convert to a tensor.

Each in a process of its own; rounds alternate, and medians and the median ratio to the faster of
the other two in the same round are printed. The first round, in which processes start, does not
count.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

from memory_use import one_round, serve, started, stop

BATCH_SIZE = 256
OURS, KERAS, TORCH = "image_folder", "image_dataset_from_directory", "DataLoader, ImageFolder"


def ours(folder, size):
    """Return a function that reads an epoch and returns the number of images."""
    from keras_simclr.datasets import image_folder

    dataset = image_folder(folder, size, batch_size=BATCH_SIZE, labels=None, verbose=False)
    dataset = dataset.planned(seed=0)

    def epoch():
        dataset.start_epoch(dataset.epoch + 1)
        return sum(len(dataset[index][0]) for index in range(len(dataset)))

    return epoch


def by_keras(folder, size):
    """Do that with Keras' reader, which returns float32."""
    import keras

    dataset = keras.utils.image_dataset_from_directory(
        folder, labels=None, image_size=(size, size), batch_size=BATCH_SIZE, seed=0, verbose=False
    )
    return lambda: sum(len(images) for images in dataset)


def by_torch(folder, size):
    """Do that with PyTorch's `DataLoader`."""
    import numpy as np
    import torch
    from PIL import Image

    torch.set_num_threads(1)

    class ImageFolder(torch.utils.data.Dataset):
        paths = sorted(map(str, Path(folder).rglob("*.jpg")))

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, index):
            with open(self.paths[index], "rb") as file:
                image = Image.open(file).convert("RGB")
            if image.size != (size, size):
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    loader = torch.utils.data.DataLoader(
        ImageFolder(), BATCH_SIZE, shuffle=True, num_workers=2, persistent_workers=True
    )
    return lambda: sum(len(images) for images in loader)


READERS = {OURS: ours, KERAS: by_keras, TORCH: by_torch}


def compare(folder, size, rounds):
    """Print images per second of each reader."""
    processes = {
        name: started(__file__, folder, "--size", size, "--serve", name) for name in READERS
    }
    measured = {name: [] for name in READERS}
    for _ in range(rounds + 1):
        for name, process in processes.items():
            seconds, _, count = one_round(process)
            measured[name].append(count / seconds)
    for process in processes.values():
        stop(process)
    measured = {name: rates[1:] for name, rates in measured.items()}
    faster = [max(pair) for pair in zip(measured[KERAS], measured[TORCH], strict=True)]
    ratio = statistics.median(a / b for a, b in zip(measured[OURS], faster, strict=True))
    print(f"{folder}, {count} images, {size} pixels: {ratio:.2f} x the faster of the other two")
    for name, rates in measured.items():
        print(f"  {name:30} {statistics.median(rates):6.0f} images per second", flush=True)


def make(folder, count):
    """Write smooth images with noise, whose files are as large as those of photographs."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for index in range(count):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype("uint8"))
        image = np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC))
        image = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype("uint8")
        path = Path(folder, "ab"[index % 2], f"{index:06}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--make", type=int, metavar="COUNT", help="write images and stop")
    parser.add_argument("--serve", choices=READERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make(options.folder, options.make)
    elif options.serve:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        serve(READERS[options.serve](options.folder, options.size))
        sys.exit()
    else:
        compare(options.folder, options.size, options.rounds)

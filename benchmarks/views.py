"""Speed of creating views, compared with the peers.

    python -m venv peers && peers/bin/pip install -r benchmarks/requirements-peers.txt
    python benchmarks/views.py --peers peers/bin/python [--sizes 32 96 224] [--rounds 7]

The whole recipe (crop, flip, color distortion of strength 1, grayscale, blur in half of the views)
on uint8 images in memory, 256 at 32 and 96 pixels, 64 at 224. Each contestant is a process of its
own with two threads (lightly and AlbumentationsX: two workers). They take turns; medians are
printed, with the peak of memory that creating views added to a process that had created a few
before. Ours keep the memory that they free, as in `fit`.

Differences: torchvision in batches draws once for a whole batch, and so does Keras' stock pipeline
in part, so neither can train SimCLR as it is. lightly and torchvision use antialiasing in their
crops; we and the authors do not. lightly also normalizes.
"""

import argparse
import contextlib
import functools
import json
import statistics
import sys
import time

import numpy as np
from memory_use import MIB, one_round, peak, reset_peak, started, stop

COUNTS = {32: 256, 96: 256, 224: 64}
ROUND = 4  # passes over the images per round, for contestants that prefetch
OURS = {f"keras_simclr, {backend}": backend for backend in ("tensorflow", "jax", "torch")}
LIGHTLY = "lightly, two workers"
ALBUMENTATIONS = "AlbumentationsX, two workers"
AUTHORS = "the authors' transforms, tf.image"
STOCK = "Keras' stock layers, tensorflow"


def ours(images):
    """Return a function that creates views of `images` with this package."""
    import keras

    from keras_simclr import SimCLRAugmenter
    from keras_simclr.layers.views import draw_views

    return keras_views(SimCLRAugmenter(strength=1.0, blur=0.5, seed=0), images, keras, draw_views)


def stock(images):
    """Return the same for the preprocessing layers of Keras itself."""
    import keras

    size = images.shape[1]
    augmenter = keras.layers.Pipeline(
        [
            keras.layers.RandomCrop(7 * size // 10, 7 * size // 10),
            keras.layers.Resizing(size, size, interpolation="bicubic"),
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomColorJitter(
                brightness_factor=0.8,
                contrast_factor=0.8,
                saturation_factor=(0.2, 0.8),
                hue_factor=0.2,
            ),
            keras.layers.RandomGrayscale(0.2),
            keras.layers.RandomGaussianBlur(factor=1.0, kernel_size=size // 10 | 1, sigma=1.0),
        ]
    )
    return keras_views(augmenter, images, keras, lambda layer, x, _: layer(x, training=True))


def keras_views(augmenter, images, keras, draw):
    """Return a function that creates views, compiled by the backend, and waits for them."""
    given = keras.ops.convert_to_tensor(images)
    augmenter(images[:1].astype("float32"), training=True)

    def views(x, step):
        return draw(augmenter, x, step)

    if keras.backend.backend() == "jax":
        import jax

        views = jax.jit(views)
        return lambda step: views(given, np.int32(step)).block_until_ready()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        views = tf.function(views)
        return lambda step: views(given, tf.constant(step))[-1, -1, -1].numpy()
    import torch

    torch.set_num_threads(2)

    def without_gradients(step):
        with torch.no_grad():
            return views(given, step)

    return without_gradients


def authors(images):
    """Return the same for the authors' transforms, reimplemented with `tf.image`."""
    import tensorflow as tf

    size = images.shape[1]

    def crop(image):
        begin, extent, _ = tf.image.sample_distorted_bounding_box(
            (size, size, 3),
            tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            min_object_covered=0.1,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            max_attempts=100,
            use_image_if_no_bounding_boxes=True,
        )
        return tf.image.resize(tf.slice(image, begin, extent), (size, size), "bicubic")

    def factor():
        return tf.random.uniform((), 0.2, 1.8)

    steps = [
        lambda x: x * factor(),
        lambda x: tf.image.adjust_contrast(x, factor()),
        lambda x: tf.image.adjust_saturation(x, factor()),
        lambda x: tf.image.adjust_hue(x, tf.random.uniform((), -0.2, 0.2)),
    ]

    def jitter(image):
        order = tf.random.shuffle(tf.range(4))
        for place in range(4):
            chosen = [functools.partial(step, image) for step in steps]
            image = tf.clip_by_value(tf.switch_case(order[place], chosen), 0.0, 1.0)
        return image

    def blur(image):
        radius = size // 20
        place = tf.range(-radius, radius + 1, dtype=tf.float32)
        kernel = tf.exp(-(place**2) / (2 * tf.random.uniform((), 0.1, 2.0) ** 2))
        kernel = tf.tile(kernel[:, None, None, None] / tf.reduce_sum(kernel), (1, 1, 3, 1))
        for turned in (kernel, tf.transpose(kernel, (1, 0, 2, 3))):
            image = tf.nn.depthwise_conv2d(image[None], turned, (1, 1, 1, 1), "SAME")[0]
        return image

    def sometimes(probability, function, image):
        return tf.cond(tf.random.uniform(()) < probability, lambda: function(image), lambda: image)

    def view(image):
        image = tf.image.random_flip_left_right(
            crop(tf.image.convert_image_dtype(image, tf.float32))
        )
        image = sometimes(0.8, jitter, image)
        image = sometimes(
            0.2, lambda x: tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(x)), image
        )
        image = sometimes(0.5, blur, tf.ensure_shape(image, images.shape[1:]))
        return tf.clip_by_value(image, 0.0, 1.0)

    data = tf.data.Dataset.from_tensor_slices(images).repeat(ROUND)
    data = data.map(view, num_parallel_calls=2).batch(len(images))
    return lambda step: [None for _ in data]


def lightly(images):
    """Return the same for lightly's SimCLRTransform in a `DataLoader` with two workers."""
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    transform = SimCLRTransform(input_size=images.shape[1], cj_strength=1.0)
    return loader_views(images, lambda image: transform(Image.fromarray(image)), ROUND // 2)


def albumentations(images):
    """Return the same for AlbumentationsX in a `DataLoader` with two workers."""
    import albumentations
    import cv2

    cv2.setNumThreads(0)  # the workers take the cores
    size = images.shape[1]
    transform = albumentations.Compose(
        [
            albumentations.RandomResizedCrop(
                (size, size), (0.08, 1.0), interpolation=cv2.INTER_CUBIC
            ),
            albumentations.HorizontalFlip(),
            albumentations.ColorJitter((0.2, 1.8), (0.2, 1.8), (0.2, 1.8), (-0.2, 0.2), p=0.8),
            albumentations.ToGray(p=0.2),
            albumentations.GaussianBlur((size // 10 | 1, size // 10 | 1), (0.1, 2.0), p=0.5),
            albumentations.ToTensorV2(),
        ]
    )
    return loader_views(images, lambda image: transform(image=image)["image"].float() / 255, ROUND)


def loader_views(images, transform, passes):
    """Return a function that transforms each image some times in a loader with two workers."""
    import torch

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return passes * len(images)

        def __getitem__(self, index):
            return transform(images[index % len(images)])

    loader = torch.utils.data.DataLoader(
        Images(), len(images) // 4, num_workers=2, persistent_workers=True
    )
    return lambda step: [None for _ in loader]


def kornia(images):
    """Return the same for kornia in batches."""
    import torch
    from kornia import augmentation

    size = images.shape[1]
    transform = torch.nn.Sequential(
        augmentation.RandomResizedCrop((size, size), (0.08, 1.0), resample="bicubic"),
        augmentation.RandomHorizontalFlip(),
        augmentation.ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8),
        augmentation.RandomGrayscale(p=0.2),
        augmentation.RandomGaussianBlur((size // 10 | 1, size // 10 | 1), (0.1, 2.0), p=0.5),
    )
    return torch_views(images, transform)


def torchvision(images):
    """Return the same for torchvision in batches, with one draw for all images."""
    from torchvision.transforms import InterpolationMode, v2

    size = images.shape[1]
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, interpolation=InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(size // 10 | 1, (0.1, 2.0))], p=0.5),
        ]
    )
    return torch_views(images, transform)


def torch_views(images, transform):
    """Return a function that applies `transform` to all images as one tensor."""
    import torch

    torch.set_num_threads(2)
    given = torch.tensor(images).permute(0, 3, 1, 2)

    def views(step):
        with torch.no_grad():
            return transform(given.float() / 255)

    return views


PEERS = {
    LIGHTLY: lightly,
    ALBUMENTATIONS: albumentations,
    "kornia": kornia,
    "torchvision v2, one draw per batch": torchvision,
}
CONTESTANTS = {**dict.fromkeys(OURS, ours), **PEERS, AUTHORS: authors, STOCK: stock}


def serve(name, size):
    """Create views for every line of the input, and print seconds and the peak of memory."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (COUNTS[size], size // 8, size // 8, 3))
    images = coarse.repeat(8, 1).repeat(8, 2).astype("uint8")
    CONTESTANTS[name](images[:16])(0)  # so that imports and compilation are not measured
    reset_peak()
    before = peak()
    make = CONTESTANTS[name](images)
    passes = ROUND if name in (LIGHTLY, ALBUMENTATIONS, AUTHORS) else 1
    with memory_of_fit() if name in OURS else contextlib.nullcontext():
        for step, _ in enumerate(sys.stdin):
            began = time.perf_counter()
            make(step)
            seconds = (time.perf_counter() - began) / passes
            print(json.dumps([seconds, (peak() - before) / MIB]), flush=True)


def memory_of_fit():
    """Return the context in which `fit` creates views."""
    from keras_simclr.ops.host_memory import freed_memory_kept

    return freed_memory_kept()


def compare(size, names, peers, rounds):
    """Print what each contestant needs for one view of all images of `size` pixels."""
    processes = {
        name: started(
            __file__,
            *("--serve", name, "--sizes", size),
            python=peers if name in PEERS else sys.executable,
            KERAS_BACKEND=OURS.get(name, "tensorflow"),
        )
        for name in names
    }
    for process in processes.values():
        for _ in range(3):
            one_round(process)
    measured = {name: [] for name in names}
    for _ in range(rounds):
        for name, process in processes.items():
            measured[name].append(one_round(process))
    for process in processes.values():
        stop(process)
    report(size, measured)


def report(size, measured):
    """Print medians, and the median ratio to the fastest peer of the same round."""
    count = COUNTS[size]
    seconds = {name: [row[0] for row in rows] for name, rows in measured.items()}
    medians = {name: statistics.median(rows) for name, rows in seconds.items()}
    fastest = [min(row) for row in zip(*(seconds[n] for n in PEERS if n in seconds), strict=True)]
    print(f"{count} views of {size} pixels, {count * size**2 * 12 / 2**20:.0f} MiB of float32")
    for name in sorted(medians, key=medians.get):
        ratios = [peer / own for peer, own in zip(fastest, seconds[name], strict=bool(fastest))]
        ratio = f", {statistics.median(ratios):.2f} x the fastest peer" if ratios else ""
        print(
            f"  {name:34} {1e3 * medians[name]:7.1f} ms {count / medians[name]:7.0f} per second, "
            f"{measured[name][-1][1]:4.0f} MiB{ratio}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", help="Python of the environment of the peers")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96, 224])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", help="names of contestants, or substrings of them")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.sizes[0])
        sys.exit()
    chosen = [
        name
        for name in CONTESTANTS
        if (options.peers or name not in PEERS)
        and (not options.only or any(part in name for part in options.only))
    ]
    for pixels in options.sizes:
        compare(pixels, chosen, options.peers, options.rounds)

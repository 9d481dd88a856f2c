"""Batches of images that are decoded from files while earlier batches are used."""

import concurrent.futures
import functools
import os
from typing import Any

import numpy as np

from keras_simclr.data.array_dataset import ArrayDataset

NUM_AHEAD = 2  # batches that are decoded ahead
FILES_PER_TASK = 32


class FileDataset(ArrayDataset):
    """Batches of images in files, in an order that depends only on the seed and the epoch.

    If files cannot be read, a dataset that drops its remainder reads others in their place, drawn
    by the seed, so that every batch is full. Any other dataset leaves them out. If that leaves a
    batch empty, the batch before or after it is divided between the two: Keras reads a fixed number
    of batches, and the mean loss of an empty one would be NaN.

    Args:
        files: Images in files, with `shape` (N, H, W, C), `dtype`, `len`, `read_into(rows, images)`
            that fills `images` and returns the places that it could not fill, `check_broken()`,
            and `fingerprint()`.
        labels: Array of length N. Defaults to None: images only.
        batch_size: Images per batch.
        **plan: `seed`, `drop_remainder`, `steps_per_epoch`, `transform`, `shard`; see
            `ArrayDataset`.
    """

    class_names: list[str] = []

    def __init__(self, files: Any, labels: Any = None, *, batch_size: int, **plan: Any) -> None:
        super().__init__(files, labels, batch_size=batch_size, **plan)
        self.is_full = plan.get("drop_remainder", False)
        self._batches: dict[int, Any] = {}
        self._divided: dict[int, Any] = {}

    def planned(self, images_only: bool = False, **plan: Any) -> "FileDataset":
        """Return a dataset of the same files with another plan; `images_only` drops the labels."""
        labels = None if images_only or not self.targets else self.targets[0]
        return FileDataset(self.images, labels, **{"batch_size": self.batch_size, **plan})

    def first_images(self):
        """Return some of the images, the same ones in every call."""
        count = min(self.batch_size, FILES_PER_TASK)
        return self.planned(batch_size=count, steps_per_epoch=1, drop_remainder=True)[0][0]

    def fingerprint(self):
        """Return a digest that changes with the files."""
        return self.images.fingerprint()

    def __getitem__(self, index):
        """Return batch `index` of those that are left: (images, labels)."""
        step = self.step_of(index)
        end = (self.epoch + 1) * self.steps_per_epoch
        self._batches = {
            number: self._batches.get(number) or self._start(number)
            for number in range(step, min(step + 1 + NUM_AHEAD, end))
        }
        rows, images = self._full(step) if self.is_full else self._readable(step, end - 1)
        del self._batches[step]
        if self.transform:
            images = self.transform(images, step)
        return (images, *(array[rows] for array in self.targets))

    def _decoded(self, step):
        """Return rows and images of a batch, and the places of those that failed."""
        if step not in self._batches:
            self._batches[step] = self._start(step)
        rows, images, tasks = self._batches[step]
        failed = [place for task in tasks for place in task.result()]
        if failed:
            self.images.check_broken()
        return rows, images, failed

    def _full(self, step):
        """Return rows and images of a batch, with others in the place of those that failed."""
        rows, images, failed = self._decoded(step)
        self._replace(failed, rows, images, step)
        return rows, images

    def _readable(self, step, last):
        """Return rows and images of a batch that can be read; an empty one gets another's."""
        if step in self._divided:
            return self._divided.pop(step)
        first = step
        rows, images = self._without_failed(step)
        while not len(rows) and step < last:
            step += 1
            rows, images = self._without_failed(step)
        while step < last and not len(self._without_failed(step + 1)[0]):
            step += 1
        count = step + 1 - first
        if len(rows) < count:
            raise ValueError(
                f"Broken files leave nothing of some batches. Received: {count} batches of "
                f"{self.batch_size} files with {len(rows)} images that can be read. Remove the "
                "files in `broken`, or pass a larger `batch_size`."
            )
        parts = zip(np.array_split(rows, count), np.array_split(images, count), strict=True)
        self._divided = dict(zip(range(first, step + 1), parts, strict=True))
        return self._divided.pop(first)

    def _without_failed(self, step):
        rows, images, failed = self._decoded(step)
        if not failed:
            return rows, images
        return np.delete(rows, failed), np.delete(images, failed, axis=0)

    def _start(self, step):
        """Let threads decode the batch of a step; return its rows, its images and the tasks."""
        rows = self.rows_of(step).copy()
        images = np.empty((len(rows), *self.images.shape[1:]), self.images.dtype)
        places = np.array_split(np.arange(len(rows)), -(-len(rows) // FILES_PER_TASK))
        tasks = [_threads(os.getpid()).submit(self._read, rows, images, some) for some in places]
        return rows, images, tasks

    def _read(self, rows, images, places):
        failed = self.images.read_into(rows[places], images[places[0] : places[-1] + 1])
        return [places[place] for place in failed]

    def _replace(self, failed, rows, images, step):
        """Read in the place of each file that failed another one, drawn by seed, pass and row."""
        for place in failed:
            draw = (self.seed or 0, step // self.steps_per_pass, int(rows[place]))
            generator = np.random.default_rng(draw)
            while self.images.read_into(rows[place : place + 1], images[place : place + 1]):
                self.images.check_broken()
                rows[place] = generator.integers(len(self.images))


@functools.cache
def _threads(process_id):
    """Return the threads of a process, one more than processors, as one may wait for a file."""
    has_affinity = hasattr(os, "sched_getaffinity")  # not on Windows and macOS
    count = len(os.sched_getaffinity(process_id)) if has_affinity else os.cpu_count() or 1
    return concurrent.futures.ThreadPoolExecutor(count + 1, "decoding")

"""TensorFlow's checkpoints: of TF1's Saver, in TF1 hub modules, and in SavedModels."""

import collections
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_simclr.keras_internals import object_graph

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
PARTS = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
STATE = re.compile(r'^model_checkpoint_path: "(.*)"', re.MULTILINE)
COUNTED = re.compile(  # children that Keras adds: the same variables again, by number
    r"(non_)?trainable_variables(_list)?|variables|keras_api|layer(_with_weights)?-\d+|signatures"
)


def checkpoint_prefix(path: Path) -> Path | None:
    """Return the prefix of the checkpoint at `path`, or None if it is not one of TensorFlow's.

    Args:
        path: A prefix, one of the files of a checkpoint, or a folder.

    Raises:
        FileNotFoundError: If the files of the checkpoint are incomplete.
    """
    if path.is_dir():
        return _prefix_in_folder(path)
    prefix = path.with_name(PARTS.sub("", path.name))
    if not _index(prefix).exists():
        if prefix == path:
            return None
        raise _incomplete(prefix, _index(prefix))
    return prefix


def _prefix_in_folder(folder):
    if (folder / "saved_model.pb").exists():
        prefix = folder / "variables" / "variables"
        if not _index(prefix).exists():
            raise _incomplete(folder, _index(prefix))
        return prefix
    state = folder / "checkpoint"
    if state.is_file():
        return _prefix_of_state(state)
    indices = sorted(folder.glob("*.index"))
    return indices[0].with_suffix("") if len(indices) == 1 else None


def _prefix_of_state(state):
    """Return the prefix that a `checkpoint` file names, which must lie in the same folder.

    The Saver writes absolute paths of the machine that it runs on, so only the name counts.
    """
    found = STATE.search(state.read_text(errors="replace"))
    name = re.split(r"[/\\]", found.group(1))[-1] if found else ""
    prefix = state.with_name(name or "?")
    if not _index(prefix).exists():
        raise FileNotFoundError(
            f"The file {str(state)!r} must name a checkpoint in its own folder. Received: "
            f"{found.group(1) if found else None!r}, and there is no {prefix.name}.index. Pass the "
            "prefix of the checkpoint instead, such as 'model.ckpt-250228'."
        )
    return prefix


def _index(prefix):
    return prefix.with_name(f"{prefix.name}.index")


def read_arrays(prefix: Path, wanted: Callable[[str], bool] | None = None) -> dict[str, np.ndarray]:
    """Read a checkpoint into arrays by name; in a SavedModel, by the names of attributes.

    Args:
        prefix: Path of the checkpoint's files without their suffixes.
        wanted: Function that returns whether an array is read, by its name. Defaults to None.

    Raises:
        FileNotFoundError: If a shard is missing.
        ValueError: If a file is damaged.
    """
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "TensorFlow is needed to read its checkpoints, on any Keras backend: "
            'pip install "keras-simclr[tensorflow]".'
        ) from error
    _check_shards(prefix)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        keys = reader.get_variable_to_shape_map()
        if OBJECT_GRAPH in keys:
            names = attribute_names(object_graph(reader.get_tensor(OBJECT_GRAPH)))
        else:
            names = {key: key for key in keys}
        return {
            name: np.asarray(reader.get_tensor(key))
            for key, name in names.items()
            if key in keys and (wanted is None or wanted(name))
        }
    except Exception as error:  # its cause is in the file
        raise ValueError(
            f"The checkpoint is damaged or incomplete. Received: {str(prefix)!r} "
            f"({_first_line(error)}). Download its files again."
        ) from error


def _check_shards(prefix):
    shards = sorted(prefix.parent.glob(f"{prefix.name}.data-?????-of-?????"))
    count = int(shards[0].name[-5:]) if shards else 1
    for shard in range(count):
        path = prefix.with_name(f"{prefix.name}.data-{shard:05}-of-{count:05}")
        if not path.exists():
            raise _incomplete(prefix, path)


def _incomplete(checkpoint, missing):
    return FileNotFoundError(
        f"A file of the checkpoint is missing. Received: {str(checkpoint)!r} without "
        f"{str(missing)!r}. Download all of its files."
    )


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


def attribute_names(graph) -> dict[str, str]:
    """Return the name of each variable of an object graph by its key in the checkpoint.

    The keys of a SavedModel number its variables in an order that changes with `trainable`, so a
    variable is named by the attributes that lead to it, by the shortest path.

    Args:
        graph: A `TrackableObjectGraph`.
    """
    paths = {0: ""}
    waiting = collections.deque([0])
    while waiting:
        node = waiting.popleft()
        for child in sorted(graph.nodes[node].children, key=_by_attribute_first):
            if child.node_id not in paths and not COUNTED.fullmatch(child.local_name):
                paths[child.node_id] = f"{paths[node]}/{child.local_name}".lstrip("/")
                waiting.append(child.node_id)
    return {
        attribute.checkpoint_key: (
            paths.get(number) or attribute.full_name or attribute.checkpoint_key
        )
        for number, node in enumerate(graph.nodes)
        for attribute in node.attributes
    }


def _by_attribute_first(child):
    """Sort the lists of layers that Keras adds to a model behind its attributes."""
    return child.local_name.lstrip("_") == "layers", child.local_name

"""Checkpoints in the layouts of the authors' code, and the golden networks' weights in them."""

import functools
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden"
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
NORM = ("gamma", "beta", "moving_mean", "moving_variance")


class Variable(NamedTuple):
    tf1: str
    tf2: str
    shape: tuple[int, ...]


def authors_variables(depth, width=1, selective=False, stem="imagenet", classes=10, layers=3):
    """List the variables of a network as the authors' code names them, in the order of calls."""
    writer = Writer()
    channels = writer.stem(64 * width, selective, stem)
    for group, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            path = f"model/resnet_model/block_groups/{group}/layers/{block}"
            args = (channels, 64 * width * 2**group, selective, block == 0 and group + 1)
            channels = (writer.basic if depth < 50 else writer.bottleneck)(path, *args)
    writer.heads(channels, classes, layers)
    return writer.variables


class Writer:
    def __init__(self):
        self.variables, self.convs, self.norms = [], 0, 0

    def conv(self, path, *shape):
        name = f"conv2d_{self.convs}" if self.convs else "conv2d"
        self.convs += 1
        self.variables.append(Variable(f"base_model/{name}/kernel", f"{path}/kernel", shape))

    def norm(self, path, channels):
        name = f"batch_normalization_{self.norms}" if self.norms else "batch_normalization"
        self.norms += 1
        self.variables += [
            Variable(f"base_model/{name}/{w}", f"{path}/{w}", (channels,)) for w in NORM
        ]

    def stem(self, filters, selective, stem):
        path = "model/resnet_model/initial_conv_relu_max_pool"
        if selective and stem == "imagenet":
            self.conv(f"{path}/0/conv2d", 3, 3, 3, filters // 2)
            self.norm(f"{path}/1/bn", filters // 2)
            self.conv(f"{path}/2/conv2d", 3, 3, filters // 2, filters // 2)
            self.norm(f"{path}/3/bn", filters // 2)
            self.conv(f"{path}/4/conv2d", 3, 3, filters // 2, filters)
            self.norm(f"{path}/6/bn", filters)
        else:
            size = 7 if stem == "imagenet" else 3
            self.conv(f"{path}/0/conv2d", size, size, 3, filters)
            self.norm(f"{path}/2/bn", filters)
        return filters

    def shortcut(self, path, before, after, selective, group):
        first = (1 if group == 1 else 2) if selective else 0  # after padding and pooling
        self.conv(f"{path}/{first}/conv2d", 1, 1, before, after)
        self.norm(f"{path}/{first + 1}/bn", after)

    def basic(self, path, before, filters, selective, new_group):
        if new_group:
            self.shortcut(f"{path}/shortcut_layers", before, filters, selective, new_group)
        for index, channels in ((0, before), (2, filters)):
            self.conv(f"{path}/conv2d_bn_layers/{index}/conv2d", 3, 3, channels, filters)
            self.norm(f"{path}/conv2d_bn_layers/{index + 1}/bn", filters)
        return filters

    def bottleneck(self, path, before, filters, selective, new_group):
        if new_group:
            self.shortcut(f"{path}/projection_layers", before, 4 * filters, selective, new_group)
        path = f"{path}/conv_relu_dropblock_layers"
        self.conv(f"{path}/0/conv2d", 1, 1, before, filters)
        self.norm(f"{path}/1/bn", filters)
        if selective:
            squeezed = max(filters // 16, 32)
            self.conv(f"{path}/3/conv2d_fixed_padding/conv2d", 3, 3, filters, 2 * filters)
            self.norm(f"{path}/3/batch_norm_relu/bn", 2 * filters)
            self.conv(f"{path}/3/conv2d_0", 1, 1, filters, squeezed)
            self.norm(f"{path}/3/batch_norm_relu_1/bn", squeezed)
            self.conv(f"{path}/3/conv2d_1", 1, 1, squeezed, 2 * filters)
        else:
            self.conv(f"{path}/3/conv2d", 3, 3, filters, filters)
            self.norm(f"{path}/4/bn", filters)
        last = 5 if selective else 6
        self.conv(f"{path}/{last}/conv2d", 1, 1, filters, 4 * filters)
        self.norm(f"{path}/{last + 1}/bn", 4 * filters)
        return 4 * filters

    def heads(self, width, classes, layers):
        for index in range(layers):
            last = index == layers - 1
            units = 128 if last else width
            tf1, tf2 = (
                f"head_contrastive/nl_{index}",
                f"model/_projection_head/linear_layers/{index}",
            )
            self.variables.append(
                Variable(f"{tf1}/dense/kernel", f"{tf2}/dense/kernel", (width, units))
            )
            self.variables += [
                Variable(f"{tf1}/batch_normalization/{w}", f"{tf2}/bn_relu/bn/{w}", (units,))
                for w in NORM
                if not (last and w == "beta")
            ]
        tf1, tf2 = "head_supervised/linear_layer/dense", "model/supervised_head/linear_layer/dense"
        if classes:
            self.variables += [
                Variable(f"{tf1}/kernel", f"{tf2}/kernel", (width, classes)),
                Variable(f"{tf1}/bias", f"{tf2}/bias", (classes,)),
            ]


def empty_arrays(variables, layout):
    """Return arrays by the names of one layout that take no memory."""
    return {getattr(v, layout): np.broadcast_to(np.float32(0.5), v.shape) for v in variables}


# The golden networks


def drawn(name, shape, steps=None):
    """Draw a weight by the rule of the reference, which stores none.

    Args:
        name: Name of the variable.
        shape: Its shape.
        steps: Steps per standard deviation to which kernels were rounded, or None.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    match name.split("/")[-1].removesuffix(":0"):
        case "gamma":
            return 1 + 0.1 * rng.standard_normal(shape)
        case "moving_variance":
            return 1 + 0.2 * rng.random(shape)
        case "kernel":
            values = rng.standard_normal(shape)
            values = np.round(values * steps) / steps if steps else values
            return values * np.sqrt(2 / np.prod(shape[:-1]))
        case _:
            return 0.1 * rng.standard_normal(shape)


@functools.cache
def reference(net):
    return dict(np.load(GOLDEN / f"{net}.npz", allow_pickle=False))


def golden_arrays(net, layout):
    """Return the weights of a golden network, and of a head for 10 classes, by name."""
    golden = reference(net)
    shapes = [tuple(map(int, shape.split(","))) for shape in golden["shapes"]]
    by_tf1 = {
        _tf1_name(name): drawn(name, shape).astype("float32")
        for name, shape in zip(golden["names"], shapes, strict=True)
    }
    rng = np.random.default_rng(7)
    width = golden["h"].shape[1]
    dense = "head_supervised/linear_layer/dense"
    by_tf1[f"{dense}/kernel"] = rng.standard_normal((width, 10)).astype("float32")
    by_tf1[f"{dense}/bias"] = rng.standard_normal(10).astype("float32")
    arguments = {
        "resnet18_cifar": {"depth": 18, "stem": "cifar"},
        "resnet50_sk": {"depth": 50, "selective": True},
    }[net]
    variables = authors_variables(**arguments)
    assert {v.tf1: v.shape for v in variables} == {n: a.shape for n, a in by_tf1.items()}
    return {getattr(v, layout): by_tf1[v.tf1] for v in variables}


def _tf1_name(name):
    """Return the TF1 name of a variable of the authors' TF2 code: the counters are the same."""
    *path, weight = name.removesuffix(":0").split("/")
    is_norm = "batch_normalization" in path[-1]
    if path[0] == "projection_head":
        return (
            f"head_contrastive/{path[1]}/{'batch_normalization' if is_norm else 'dense'}/{weight}"
        )
    return f"base_model/{path[-1].removeprefix('sync_')}/{weight}"


# Files


def write_tf1(arrays, folder, name="model.ckpt-37535"):
    """Write what TF1's Saver writes, with absolute paths of another machine."""
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(folder / name),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=list(arrays.values()),
    )
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "/elsewhere/{name}"\n')
    return folder


def write_saved_model(arrays, folder, keys="numbers"):
    """Write the variables of a SavedModel whose keys, but not its object graph, number them.

    Args:
        arrays: Arrays by the attributes that lead to them.
        folder: Folder to create.
        keys: "numbers" in the lists of each part of the model, or "list" for one list of all.
    """
    import tensorflow as tf

    variables = {name: tf.Variable(array) for name, array in arrays.items()}
    root = tree(variables, tf.train.Checkpoint)
    if keys == "list":
        root.trainable_variables_list = list(variables.values())
    else:
        for part in ("resnet_model", "_projection_head", "supervised_head"):
            found = [v for name, v in variables.items() if name.startswith(f"model/{part}/")]
            if found:
                getattr(root.model, part).variables = found[::-1]  # an order that means nothing
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    root.write(str(folder / "variables" / "variables"))
    return folder


def tree(leaves, node):
    """Return nested objects with the attributes, and lists, that the names of `leaves` describe."""
    if list(leaves) == [""]:
        return leaves[""]
    children = {}
    for name, leaf in leaves.items():
        first, _, rest = name.partition("/")
        children.setdefault(first, {})[rest] = leaf
    children = {name: tree(below, node) for name, below in children.items()}
    if all(name.isdigit() for name in children):
        return [children.get(str(i), node()) for i in range(max(map(int, children)) + 1)]
    return node(**children)

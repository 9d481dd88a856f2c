"""Train on some devices and save the results: python program.py FOLDER DEVICES.

Only what must be compiled is compiled on TensorFlow, where this takes far longer than computing:
nothing on one device or on four, and on two what would differ in a graph.
"""

import contextlib
import json
import os
import sys

FOLDER, DEVICES = sys.argv[1], int(sys.argv[2])
BACKEND = os.environ["KERAS_BACKEND"]
EAGER = BACKEND == "tensorflow"
if BACKEND == "jax":
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import ops  # noqa: E402
from small_model import COUNT, make_images, model_of  # noqa: E402


def devices():
    """Create the devices, and return a function that returns the scope to create models in."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.run_functions_eagerly(DEVICES != 2)
    if DEVICES == 1 or BACKEND == "torch":
        return contextlib.nullcontext
    if BACKEND == "jax":
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        return contextlib.nullcontext
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * DEVICES
    )
    # After an error the default's collectives could not be used again.
    strategy = tf.distribute.MirroredStrategy(
        [f"CPU:{number}" for number in range(DEVICES)],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    return strategy.scope


class Batches(keras.utils.PyDataset):
    """Batches of 64 images; the last may be short."""

    def __init__(self, images):
        super().__init__()
        self.images = images

    def __len__(self):
        return -(-len(self.images) // COUNT)

    def __getitem__(self, index):
        return (self.images[COUNT * index : COUNT * index + COUNT],)


def full_batches(count):
    """Return a dataset of `count` full batches and, on several devices, one that is dropped."""
    images = make_images(COUNT * count + 16)
    return Batches(images if DEVICES > 1 else images[: COUNT * count])


class FirstStep(keras.callbacks.Callback):
    """Keep the results of the first epoch, which is one step; then lower the learning rate.

    With SGD and a learning rate of 1, the change of a weight is its gradient.
    """

    def on_train_begin(self, logs=None):
        self.before = self.model.get_weights()
        self.found = {}

    def on_epoch_end(self, epoch, logs=None):
        if self.found:
            return
        self.found = {name: value for name, value in logs.items() if name[:4] != "val_"}
        trainable = {id(variable) for variable in self.model.trainable_variables}
        after = self.model.get_weights()
        for number, variable in enumerate(self.model.weights):
            change = after[number] - self.before[number]
            kind = "gradient" if id(variable) in trainable else "statistic"
            if change.dtype.kind == "f":
                self.found[f"{kind}_{number}"] = change
        self.model.optimizer.learning_rate = 0.1


def compiled_model(scope_of, loss=None, run_eagerly=False, simple=True, **arguments):
    """Return a model in the scope of the devices; the views of a simple one are only crops."""
    from keras_simclr import SimCLRAugmenter
    from keras_simclr.layers.presets import CROP_AND_FLIP

    with scope_of():
        augmenter = SimCLRAugmenter(**CROP_AND_FLIP, seed=2) if simple else None
        model = model_of(augmenter=augmenter, **arguments)
        model.compile(keras.optimizers.SGD(1.0), loss=loss, run_eagerly=run_eagerly)
    return model


def one_step(model, data=None, count=COUNT):
    """Return the loss of a step, each variable's gradient, and the moving statistics."""
    from keras_simclr.callbacks import GradientNorm

    step = FirstStep()
    options = {"batch_size": count} if data is None else {}
    data = make_images(count) if data is None else data
    model.fit(data, verbose=0, callbacks=[GradientNorm(), step], **options)
    return step.found


def few_per_device(scope_of):
    """Return the results of a step on 24 images: 12 on each of 2 devices, 6 on each of 4."""
    step = one_step(compiled_model(scope_of, simple=False), count=24)
    return {f"odd_{name}": value for name, value in step.items()}


def gradient_of_z(scope_of):
    """Return the loss of known z, and its gradient by them."""
    from keras_simclr import NTXentLoss, distribution

    z = np.random.default_rng(1).normal(size=(2, 16, 6)).astype("float32")
    loss = NTXentLoss(0.2, chunk_size=5)
    if BACKEND == "jax":
        import jax

        value, slope = jax.jit(jax.value_and_grad(lambda z: loss(z[0], z[1])))(z)
        return np.array(value), np.array(slope)
    size = 16 // DEVICES
    if BACKEND == "torch":
        rank = distribution.replica_id()
        shard = ops.convert_to_tensor(z[:, rank * size : (rank + 1) * size]).requires_grad_()
        value = loss(shard[0], shard[1])
        value.backward()
        slope = distribution.all_gather(ops.swapaxes(shard.grad, 0, 1)) / DEVICES
        slope = ops.convert_to_numpy(ops.swapaxes(slope, 0, 1))
        return ops.convert_to_numpy(distribution.all_reduce_mean(value)), slope
    import tensorflow as tf

    def on_replica():
        shard = tf.constant(z)[:, distribution.replica_id() * size :][:, :size]
        with tf.GradientTape() as tape:
            tape.watch(shard)
            value = loss(shard[0], shard[1])
        return value, tape.gradient(value, shard)

    with scope_of():
        strategy = tf.distribute.get_strategy()
        value, slope = strategy.run(tf.function(on_replica))
    slopes = strategy.experimental_local_results(slope)
    value = sum(strategy.experimental_local_results(value))
    return np.array(value), np.concatenate([np.array(part) for part in slopes], axis=1)


def custom_loss(z_a, z_b):
    """Compute a loss that is no Keras loss, and not NT-Xent, from all pairs."""
    apart = ops.mean(ops.square(z_a + z_b))  # whose gradient both have
    z_a, z_b = ops.normalize(z_a, axis=-1), ops.normalize(z_b, axis=-1)
    logits = ops.matmul(z_a, ops.transpose(z_b)) / 0.3
    return ops.mean(ops.logsumexp(logits, axis=1) - ops.diagonal(logits)) + 0.01 * apart


@contextlib.contextmanager
def broken(what):
    """Break one part of distributed training within the context."""
    from keras_simclr import distribution

    if what == "gather":
        all_gather = distribution.all_gather
        patch = (distribution, "all_gather", lambda z: ops.stop_gradient(all_gather(z)))
    elif what == "draws":
        patch = (distribution, "replica_id", lambda: 0)
    elif BACKEND == "torch":
        from keras_simclr.distribution import on_torch

        mean = on_torch.all_reduce_mean
        patch = (on_torch, "all_reduce_mean", lambda tensor: DEVICES * mean(tensor))
    else:
        patch = (distribution, "loss_divisor", lambda: 1)
    owner, name, wrong = patch
    right = getattr(owner, name)
    setattr(owner, name, wrong)
    try:
        yield
    finally:
        setattr(owner, name, right)


def refusals(scope_of):
    """Return the errors of what is not supported."""
    said = {}

    def ask(name, function):
        try:
            function()
            said[name] = ""
        except ValueError as error:
            said[name] = str(error)

    def with_model(function, **arguments):
        with scope_of():
            model = model_of(**arguments)
            model.compile("sgd")
        function(model)

    few = make_images(3)
    ask(
        "batch", lambda: with_model(lambda model: model.fit(make_images(), batch_size=7, verbose=0))
    )
    ask(
        "micro-batch",
        lambda: with_model(
            lambda model: model.fit(make_images(), batch_size=12, verbose=0), micro_batch_size=4
        ),
    )
    ask("labels", lambda: with_model(lambda model: model.fine_tune(few[:1], [0], num_classes=2)))
    if BACKEND == "torch":
        own = make_images()[int(os.environ["RANK"]) :]
        ask("data", lambda: with_model(lambda model: model.fit(own, batch_size=8, verbose=0)))
    else:
        ask("created before", lambda: fit_a_model_created_before(scope_of))
    return said


def fit_a_model_created_before(scope_of):
    """Create a model on one device, then fit it on several."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    model = model_of()
    model.compile("sgd")
    keras.distribution.set_distribution(distribution)
    with scope_of():
        model.fit(make_images(), batch_size=8, verbose=0)


def run(model):
    """Return the results of the first of four epochs, and the losses of the others."""
    from keras_simclr.callbacks import EmbeddingHealth, GradientNorm

    step = FirstStep()
    options = {"epochs": 4, "validation_data": full_batches(2), "validation_freq": [2, 4]}
    callbacks = [step, GradientNorm(), EmbeddingHealth(make_images(21))]
    history = model.fit(full_batches(1), callbacks=callbacks, verbose=0, **options).history
    losses = {"run_loss": history["loss"][1:], "run_val_loss": history["val_loss"]}
    losses["run_effective_rank"] = history["effective_rank"]
    return {**step.found, **losses, "evaluated": model.evaluate(full_batches(2), verbose=0)}


def train(scope_of):
    """Return the results of everything that a model can do."""
    model = compiled_model(scope_of, simple=False)
    found = run(model)
    found["predicted"] = model.predict(make_images(21), batch_size=8, verbose=0)
    found |= fine_tuned(model)
    found["z_loss"], found["z_gradient"] = gradient_of_z(scope_of)
    size = None if DEVICES == 1 else COUNT // DEVICES // 2
    in_parts = compiled_model(scope_of, batch_norm=False, micro_batch_size=size, num_views=3)
    found |= {f"micro_{name}": value for name, value in one_step(in_parts).items()}
    own_loss = compiled_model(scope_of, loss=custom_loss, run_eagerly=EAGER)
    found |= {f"custom_{name}": value for name, value in one_step(own_loss).items()}
    size = 32 if DEVICES == 1 else 64
    found["few"] = own_loss.evaluate(make_images(32), batch_size=size, verbose=0)
    in_parts = compiled_model(scope_of, micro_batch_size=4, run_eagerly=EAGER)
    found["in_micro_batches"] = in_parts.evaluate(make_images(100), verbose=0)
    return found


def fine_tuned(model):
    images = make_images(96)
    classifier = model.fine_tune(
        images,
        np.arange(96) % 3,
        epochs=2,
        batch_size=32,
        validation_data=(images, images[:, 0, 0, 0] % 3),
        verbose=0,
    )
    return {f"tuned_{name}": values for name, values in classifier.history.history.items()}


BROKEN = ("gather",) if BACKEND == "jax" else ("gather", "divisor", "draws")

if __name__ == "__main__":
    make_scope = devices()
    if DEVICES == 4:
        results = one_step(compiled_model(make_scope, simple=False), full_batches(1))
    else:
        results = train(make_scope)
    results |= few_per_device(make_scope)
    errors = {}
    if DEVICES == 2:
        for part in BROKEN:
            model = compiled_model(make_scope, run_eagerly=EAGER, simple=False)
            with broken(part):
                broken_step = one_step(model, full_batches(1))
            results |= {f"{part}_{name}": value for name, value in broken_step.items()}
        errors = refusals(make_scope)
    if os.environ.get("RANK", "0") == "0":
        np.savez(f"{FOLDER}/{DEVICES}.npz", **results)
        with open(f"{FOLDER}/{DEVICES}.json", "w") as file:
            json.dump(errors, file)

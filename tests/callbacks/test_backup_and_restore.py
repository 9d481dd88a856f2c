import datetime
import os
import resource
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import filelock
import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr import NTXentLoss, SimCLR, distribution
from keras_simclr.callbacks import BackupAndRestore
from keras_simclr.callbacks.resuming import adopted_seed

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype("uint8")
STEPS = 5


class Stopped(BaseException):
    """A run that ends without any clean-up, as far as that is possible in one process."""


class StopBefore(keras.callbacks.Callback):
    """Call a function before one of the steps of this `fit`."""

    def __init__(self, step, function=None):
        super().__init__()
        self.steps_left, self.function = step, function

    def on_train_batch_begin(self, batch, logs=None):
        if self.steps_left == 0:
            if self.function is None:
                raise Stopped
            self.function()
        self.steps_left -= 1


class Count(keras.callbacks.Callback):
    """Count epochs, with a state for backups."""

    def __init__(self):
        super().__init__()
        self.epochs = 0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1
        logs["count"] = self.epochs

    def get_state(self):
        return {"epochs": self.epochs}

    def set_state(self, state):
        self.epochs = state["epochs"]


class Shuffled(keras.utils.PyDataset):
    """Batches in an order that depends on how often an epoch has ended."""

    def __init__(self, **options):
        super().__init__(**options)
        self.rng, self.order = np.random.default_rng(5), np.arange(len(IMAGES))

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        return (IMAGES[self.order[8 * index : 8 * index + 8]],)

    def on_epoch_end(self):
        self.rng.shuffle(self.order)


def shuffled_tf_data():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(IMAGES).shuffle(64, seed=3).batch(8)


def shuffled_loader():
    import torch

    images = torch.utils.data.TensorDataset(torch.from_numpy(IMAGES))
    generator = torch.Generator().manual_seed(7)
    return torch.utils.data.DataLoader(images, 8, shuffle=True, generator=generator)


def drawn_by_numpy():
    while True:
        yield (IMAGES[np.random.randint(0, len(IMAGES), 8)],)


def plateau():
    return [
        keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1, factor=0.5, min_delta=1),
        keras.callbacks.EarlyStopping(monitor="loss", patience=9, restore_best_weights=True),
        Count(),
    ]


RUNS = {
    "array": lambda: {"x": IMAGES, "batch_size": 8},
    "array in epochs that are no pass": lambda: {
        "x": IMAGES,
        "batch_size": 8,
        "steps_per_epoch": 7,
    },
    "array with validation": lambda: {
        "x": IMAGES,
        "batch_size": 8,
        "validation_data": IMAGES[:16],
    },
    "micro-batches": lambda: {"x": IMAGES, "batch_size": 8, "micro_batch_size": 4},
    "mixed precision": lambda: {"x": IMAGES, "batch_size": 8, "dtype": "mixed_float16"},
    "callbacks with a state": lambda: {"x": IMAGES, "batch_size": 8, "callbacks": plateau()},
    "PyDataset": lambda: {"x": Shuffled()},
    "PyDataset with workers": lambda: {"x": Shuffled(workers=2)},
    "tf.data": lambda: {"x": shuffled_tf_data()},
    "tf.data in epochs that are no pass": lambda: {"x": shuffled_tf_data(), "steps_per_epoch": 4},
    "DataLoader": lambda: {"x": shuffled_loader()},
    "generator": lambda: {"x": drawn_by_numpy(), "steps_per_epoch": STEPS},
}
ON_EVERY_BACKEND = ("array", "micro-batches", "mixed precision")


def train(folder, *callbacks, save_freq=1, epochs=3, run="array", dropout=True, seed=1, **changes):
    """Train a small model, and return its state, its history and its epochs."""
    keras.utils.set_random_seed(0)
    options = {**RUNS[run](), **changes}
    own = options.pop("callbacks", [])
    names = ("micro_batch_size", "dtype", "temperature")
    arguments = {name: options.pop(name) for name in names if name in options}
    dropped = [layers.Dropout(0.3), layers.Dropout(0.3, seed=4)] if dropout else []
    backbone = keras.Sequential(
        [layers.Rescaling(1 / 255), layers.Conv2D(4, 3), layers.BatchNormalization(), *dropped]
    )
    augmenter = layers.RandomFlip(seed=3)
    model = SimCLR(backbone, augmenter=augmenter, seed=seed, **arguments)
    if own or "loss" in options:
        model.compile(keras.optimizers.Adam(1e-3) if own else "auto", options.pop("loss", "auto"))
    backup = BackupAndRestore(folder, save_freq=save_freq)
    history = model.fit(epochs=epochs, verbose=0, callbacks=[backup, *own, *callbacks], **options)
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(v) for v in variables], history.history, history.epoch


def assert_same(found, expected):
    for one, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[1:] == expected[1:]


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(run, marks=[pytest.mark.every_backend] * (run in ON_EVERY_BACKEND))
        for run in RUNS
    ],
)
def test_a_run_stopped_within_an_epoch_ends_like_one_that_was_not(run, tmp_path):
    straight = train(tmp_path / "straight", run=run)
    for step in (2, 4):
        with pytest.raises(Stopped):
            train(tmp_path / "stopped", StopBefore(step), run=run)
    assert_same(train(tmp_path / "stopped", run=run), straight)
    assert not (tmp_path / "stopped").exists()


@pytest.mark.every_backend
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch runs steps one by one")
def test_a_run_with_several_steps_per_execution_resumes(tmp_path, compiled):
    def one_run(folder, *callbacks):
        keras.utils.set_random_seed(0)
        flip = layers.RandomFlip(seed=3)
        model = SimCLR(keras.Sequential([layers.Conv2D(4, 3)]), augmenter=flip, seed=1)
        model.compile(steps_per_execution=2)
        backup = BackupAndRestore(folder, save_freq=1)
        options = {"batch_size": 8, "epochs": 2, "verbose": 0}
        model.fit(IMAGES, callbacks=[backup, *callbacks], **options)
        return model.get_weights()

    straight = one_run(tmp_path / "straight")
    with pytest.raises(Stopped):
        one_run(tmp_path / "stopped", StopBefore(2))
    for found, expected in zip(one_run(tmp_path / "stopped"), straight, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_run_stopped_while_a_backup_is_written_ends_like_one_that_was_not(
    name, tmp_path, monkeypatch
):
    straight = train(tmp_path / "straight")
    calls = iter(range(100))
    original = getattr(os, name)

    def stop_in_the_fourth(*args):
        if next(calls) == 3:
            raise Stopped
        return original(*args)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(os, name, stop_in_the_fourth)
        train(tmp_path / "stopped")
    assert_same(train(tmp_path / "stopped"), straight)


def interrupt(number):
    return lambda: os.kill(os.getpid(), number)


KILLS = {
    "within an epoch": (-signal.SIGKILL, interrupt(signal.SIGKILL)),
    "SIGTERM": (128 + signal.SIGTERM, interrupt(signal.SIGTERM)),
}


def run_in_a_process(name, folder):
    """Train in this process, which is a child of the tests, until something happens to it."""
    if name == "while writing":
        np.lib.format.write_array = lambda *args, **options: interrupt(signal.SIGKILL)()
    train(folder, *([StopBefore(7, KILLS[name][1])] if name in KILLS else []))


def killed(name, folder):
    code = "import sys, test_backup_and_restore as test; test.run_in_a_process(*sys.argv[1:])"
    environment = {"KERAS_BACKEND": keras.backend.backend(), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, name, str(folder)],
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.every_backend
def test_a_process_killed_at_any_moment_ends_like_one_that_was_not(tmp_path, compiled):
    straight = train(tmp_path / "straight")
    folder = tmp_path / "killed"
    assert killed("within an epoch", folder).returncode == -signal.SIGKILL
    assert (folder / "epoch-1-step-1.backup").exists()
    assert killed("while writing", folder).returncode == -signal.SIGKILL
    assert len(list(folder.glob("unfinished-*"))) == 1
    assert_same(train(folder), straight)
    assert not folder.exists()


def test_sigterm_saves_a_backup_and_stops(tmp_path, compiled):
    straight = train(tmp_path / "straight", save_freq="epoch")
    done = killed("SIGTERM", tmp_path / "stopped")
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert "to resume, start the same program again" in done.stdout
    assert (tmp_path / "stopped" / "epoch-1-step-2.backup").exists()
    assert_same(train(tmp_path / "stopped", save_freq="epoch"), straight)


def test_ctrl_c_saves_a_backup_and_stops(tmp_path):
    straight = train(tmp_path / "straight", save_freq="epoch")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", StopBefore(2, interrupt(signal.SIGINT)), save_freq="epoch")
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "stopped" / "epoch-0-step-2.backup").exists()
    assert_same(train(tmp_path / "stopped", save_freq="epoch"), straight)


@pytest.mark.every_backend
def test_fine_tuning_resumes_within_an_epoch(pretrained, labeled_images, tmp_path):
    images, labels = labeled_images

    def tune(folder, *callbacks):
        backup = BackupAndRestore(folder, save_freq=1)
        options = {"batch_size": 8, "epochs": 2, "steps_per_epoch": 3, "verbose": 0}
        classifier = pretrained.fine_tune(images, labels, callbacks=[backup, *callbacks], **options)
        return classifier.get_weights(), classifier.history.history

    straight = tune(tmp_path / "straight")
    with pytest.raises(Stopped):
        tune(tmp_path / "stopped", StopBefore(5))
    found = tune(tmp_path / "stopped")
    for one, other in zip(found[0], straight[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[1] == straight[1]


def test_fine_tuning_resumes_with_the_seed_that_its_augmenter_drew(
    pretrained, labeled_images, tmp_path
):
    images, labels = labeled_images

    def tune(augmenter, folder, *callbacks):
        backup = BackupAndRestore(folder, save_freq=1)
        options = {"batch_size": 8, "epochs": 2, "verbose": 0, "augmenter": augmenter}
        classifier = pretrained.fine_tune(images, labels, callbacks=[backup, *callbacks], **options)
        return classifier.get_weights()

    first, second = layers.RandomFlip(), layers.RandomFlip()
    straight = tune(first, tmp_path / "straight")
    with pytest.raises(Stopped):
        tune(first, tmp_path / "stopped", StopBefore(5))
    for one, other in zip(tune(second, tmp_path / "stopped"), straight, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_backup_of_another_fine_tuning_is_refused(
    pretrained, make_model, labeled_images, tmp_path
):
    images, labels = labeled_images

    def tune(model, *callbacks, **changes):
        backup = BackupAndRestore(tmp_path, save_freq=1)
        options = {"batch_size": 8, "epochs": 2, "verbose": 0, **changes}
        model.fine_tune(images, labels, callbacks=[backup, *callbacks], **options)

    with pytest.raises(Stopped):
        tune(pretrained, StopBefore(2))
    with pytest.raises(ValueError, match="class_weight"):
        tune(pretrained, class_weight={0: 2.0, 1: 1.0, 2: 1.0})
    other = make_model()
    other.build((None, *images.shape[1:]))
    other.pretrained = True
    with pytest.raises(ValueError, match="pretrained_weights"):
        tune(other)


def stopped(folder, **options):
    with pytest.raises(Stopped):
        train(folder, StopBefore(2), **options)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 2}, "seed is 2 and was 1"),
        ({"x": 255 - IMAGES}, "images.digest is"),
        ({"batch_size": 4}, "batch_size is 4 and was 8"),
        ({"epochs": 8}, "epochs is 8 and was 3"),
        ({"temperature": 0.3}, "model.temperature is 0.3 and was None"),
        ({"shuffle": False}, "shuffle is False and was True"),
        ({"loss": NTXentLoss(0.2)}, "loss"),
        ({"dropout": False}, "belongs to another run"),
    ],
)
def test_a_backup_of_another_run_is_refused(changes, said, tmp_path):
    stopped(tmp_path)
    with pytest.raises(ValueError, match=said):
        train(tmp_path, **changes)


def test_a_run_may_resume_in_micro_batches(tmp_path):
    stopped(tmp_path)
    assert train(tmp_path, micro_batch_size=4)[2] == [0, 1, 2]


class StopInTheEnd(keras.callbacks.Callback):
    def on_train_end(self, logs=None):
        raise Stopped


def early_stopping():
    options = {"monitor": "loss", "min_delta": 9, "patience": 1}
    return keras.callbacks.EarlyStopping(**options, restore_best_weights=True)


def test_a_run_that_a_callback_has_stopped_is_not_continued(tmp_path):
    straight = train(tmp_path / "straight", early_stopping())
    assert straight[2] == [0, 1]
    with pytest.raises(Stopped):
        train(tmp_path / "stopped", early_stopping(), StopInTheEnd())
    assert_same(train(tmp_path / "stopped", early_stopping()), straight)


def test_the_best_weights_are_restored_in_a_run_that_is_complete(tmp_path):
    def best():
        return keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)

    straight = train(tmp_path / "straight", best())
    with pytest.raises(Stopped):
        train(tmp_path / "stopped", StopInTheEnd(), best())
    assert_same(train(tmp_path / "stopped", best()), straight)


def test_callbacks_that_act_when_an_epoch_begins_see_their_state(tmp_path):
    class CountBegun(Count):
        def on_epoch_begin(self, epoch, logs=None):
            self.epochs += 1

    counts = [CountBegun() for _ in range(3)]
    train(tmp_path / "straight", counts[0])
    for step, count in ((STEPS, counts[1]), (2, counts[2])):
        folder = tmp_path / f"stopped-{step}"
        with pytest.raises(Stopped):
            train(folder, CountBegun(), StopBefore(step))
        train(folder, count)
        assert count.epochs == counts[0].epochs


def test_a_later_fit_trains_all_its_epochs(tmp_path):
    stopped_model = None

    class Keep(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            nonlocal stopped_model
            stopped_model = self.model

    with pytest.raises(Stopped):
        train(tmp_path, StopBefore(STEPS + 1))
    with pytest.raises(Stopped):
        train(tmp_path, Keep(), StopBefore(1))
    assert stopped_model.fit(IMAGES, batch_size=8, epochs=2, verbose=0).epoch == [0, 1]


def test_a_callback_that_predicts_does_not_disturb_where_the_run_starts(tmp_path):
    class Predict(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.predict(IMAGES, verbose=0)

    straight = train(tmp_path / "straight", Predict())
    with pytest.raises(Stopped):
        train(tmp_path / "stopped", Predict(), StopBefore(STEPS + 2))
    assert_same(train(tmp_path / "stopped", Predict()), straight)


def test_fewer_epochs_than_are_done_are_refused(tmp_path):
    fit(tmp_path, delete_checkpoint=False)
    with pytest.raises(ValueError, match="has more epochs than the run. Received: 2 complete"):
        fit(tmp_path, epochs=1)


def test_a_state_that_is_no_json_names_its_callback(tmp_path):
    class Wrong(Count):
        def get_state(self):
            return {"epochs": object()}

    with pytest.raises(TypeError, match="`get_state` of Wrong must return what JSON can"):
        train(tmp_path, Wrong())


def test_a_handler_of_the_users_own_receives_the_signal(tmp_path):
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        train(tmp_path, StopBefore(2, interrupt(signal.SIGTERM)), save_freq="epoch")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]


def test_a_signal_after_the_last_epoch_is_not_swallowed(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            interrupt(signal.SIGINT)()

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, Interrupt())


def test_a_dataset_in_another_order_is_warned_of(tmp_path):
    with pytest.raises(Stopped):
        train(tmp_path, StopBefore(2), x=keras_dataset(IMAGES), batch_size=None)
    with pytest.warns(UserWarning, match="sees other images than the interrupted"):
        train(tmp_path, x=keras_dataset(IMAGES[::-1]), batch_size=None)


def keras_dataset(images):
    class Dataset(Shuffled):
        def __getitem__(self, index):
            return (images[8 * index : 8 * index + 8],)

    return Dataset()


def test_a_run_without_a_seed_resumes_with_the_one_that_was_drawn(tmp_path):
    keras.utils.set_random_seed(5)
    stopped(tmp_path, seed=None)
    with zipfile.ZipFile(tmp_path / "epoch-0-step-1.backup") as archive:
        assert b'"seed": ' in archive.read("record.json")
    model = SimCLR(keras.Sequential([layers.Conv2D(4, 3)]), seed=None)
    backup = BackupAndRestore(tmp_path)
    with adopted_seed(model, backup):
        assert model.seed == backup.newest_record()["settings"]["seed"]


def test_a_refused_backup_leaves_the_seed_of_the_model(tmp_path):
    stopped(tmp_path, seed=None)
    model = SimCLR(keras.Sequential([layers.Conv2D(4, 3)]), seed=None)
    model.build((None, 8, 8, 1))
    seed = model.seed
    with pytest.raises(ValueError, match="belongs to another run"):
        model.fit(IMAGES, batch_size=4, verbose=0, callbacks=[BackupAndRestore(tmp_path)])
    assert model.seed == seed


def test_a_csv_log_has_each_epoch_once(tmp_path):
    log = tmp_path / "log.csv"
    interrupted, logger = (keras.callbacks.CSVLogger(log) for _ in range(2))
    with pytest.raises(Stopped):
        train(tmp_path / "run", StopBefore(STEPS + 2), interrupted)
    interrupted.csv_file.close()
    written = log.read_text()
    log.write_text(written + "1" + ",0" * written.split("\n")[0].count(",") + "\n")
    train(tmp_path / "run", logger)
    assert [line.split(",")[0] for line in log.read_text().split()] == ["epoch", "0", "1", "2"]
    assert not logger.append


def test_a_csv_log_of_a_run_stopped_in_its_first_epoch_has_a_header(tmp_path):
    log = tmp_path / "log.csv"
    for steps in (2, 1):  # in the first epoch, then again after it was resumed
        interrupted = keras.callbacks.CSVLogger(log)
        with pytest.raises(Stopped):
            train(tmp_path / "run", StopBefore(steps), interrupted)
        interrupted.csv_file.close()
    train(tmp_path / "run", keras.callbacks.CSVLogger(log))
    assert [line.split(",")[0] for line in log.read_text().split()] == ["epoch", "0", "1", "2"]


def test_a_row_that_was_cut_off_is_dropped_from_a_csv_log(tmp_path):
    log = tmp_path / "log.csv"
    interrupted = keras.callbacks.CSVLogger(log)
    with pytest.raises(Stopped):
        train(tmp_path / "run", StopBefore(STEPS + 2), interrupted)
    interrupted.csv_file.close()
    log.write_text(log.read_text() + "1,0.")
    train(tmp_path / "run", keras.callbacks.CSVLogger(log))
    assert [line.split(",")[0] for line in log.read_text().split()] == ["epoch", "0", "1", "2"]


def test_a_csv_log_of_another_program_is_refused(tmp_path):
    log = tmp_path / "log.csv"
    stopped(tmp_path / "run")
    log.write_text("time,place\n1,2\n")
    with pytest.raises(ValueError, match="must have a column 'epoch'"):
        train(tmp_path / "run", keras.callbacks.CSVLogger(log))
    assert log.read_text() == "time,place\n1,2\n"


def test_a_csv_log_keeps_the_epochs_of_the_interrupted_run(tmp_path):
    log = tmp_path / "log.csv"
    interrupted = keras.callbacks.CSVLogger(log)
    with pytest.raises(Stopped):
        train(tmp_path / "run", StopBefore(6), interrupted)
    interrupted.csv_file.close()
    train(tmp_path / "run", keras.callbacks.CSVLogger(log))
    assert [line.split(",")[0] for line in log.read_text().split()] == ["epoch", "0", "1", "2"]


def test_a_damaged_backup_falls_back_to_the_one_before(tmp_path):
    straight = train(tmp_path / "straight")
    stopped(tmp_path / "stopped")
    newest = tmp_path / "stopped" / "epoch-0-step-1.backup"
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="step-1.backup is damaged .* An older backup is used"):
        found = train(tmp_path / "stopped")
    assert_same(found, straight)


def test_a_folder_with_only_damaged_backups_is_refused(tmp_path):
    stopped(tmp_path)
    for path in tmp_path.glob("*.backup"):
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(ValueError, match="No backup in .* can be read. Received: 2 damaged files"),
    ):
        train(tmp_path)


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "history.csv").write_text("mine")
    train(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


def test_a_folder_that_another_process_uses_is_refused(tmp_path):
    code = (
        "import sys, filelock\n"
        "with filelock.FileLock(sys.argv[1]):\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "backup.lock")], **pipes)
    with other:
        other.stdout.readline()
        with pytest.raises(RuntimeError, match="which another process is using"):
            train(tmp_path)
        other.stdin.close()
    assert train(tmp_path)[2] == [0, 1, 2]


def test_a_folder_that_cannot_be_written_to_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Backups cannot be written to"):
        train(tmp_path / "file", StopBefore(0))


@pytest.fixture
def no_space():
    """Return a function that limits the size of files, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_found_before_the_first_step(tmp_path, no_space):
    no_space()
    with pytest.raises(OSError, match="Backups cannot be written to .* a disk with enough space"):
        train(tmp_path, StopBefore(0))
    assert list(tmp_path.glob("*.backup")) == []


def test_a_disk_that_fills_up_is_warned_of_and_keeps_the_last_backup(tmp_path, no_space):
    with (
        pytest.warns(UserWarning, match="could not be written: .* Training continues"),
        pytest.raises(Stopped),
    ):
        train(tmp_path, StopBefore(2, no_space), StopBefore(4))
    assert (tmp_path / "epoch-0-step-1.backup").exists()
    assert not (tmp_path / "epoch-0-step-3.backup").exists()
    assert list(tmp_path.glob("unfinished-*")) == []


class Break(keras.callbacks.Callback):
    """Set a weight to NaN before a step."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 2:
            weight = self.model.trainable_weights[0]
            weight.assign(np.full(weight.shape, np.nan))


@pytest.mark.every_backend
def test_weights_that_are_not_finite_do_not_replace_a_backup(tmp_path):
    with pytest.raises(ArithmeticError, match="so they were not saved"):
        train(tmp_path, Break())
    assert (tmp_path / "epoch-0-step-1.backup").exists()


def test_backups_are_saved_after_a_time(tmp_path):
    stopped(tmp_path, save_freq=datetime.timedelta(microseconds=1))
    assert (tmp_path / "epoch-0-step-1.backup").exists()


def test_by_default_backups_are_saved_at_the_end_of_epochs(tmp_path):
    with pytest.raises(Stopped):
        train(tmp_path, StopBefore(STEPS + 2), save_freq="epoch")
    names = [path.name for path in tmp_path.glob("*.backup")]
    assert sorted(names) == ["epoch-0-step-0.backup", "epoch-1-step-0.backup"]


@pytest.mark.parametrize("save_freq", [0, -1, 1.5, "step", None, datetime.timedelta(0)])
def test_other_frequencies_are_refused(save_freq, tmp_path):
    with pytest.raises(ValueError, match="`save_freq` must be"):
        BackupAndRestore(tmp_path, save_freq=save_freq)


def test_several_backups_in_one_run_are_refused(tmp_path):
    with pytest.raises(ValueError, match="A run has one `BackupAndRestore`"):
        train(tmp_path, BackupAndRestore(tmp_path / "second"))


def fit(folder, epochs=2, **arguments):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    backup = BackupAndRestore(folder, **arguments)
    model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=epochs, verbose=0, callbacks=[backup])
    return backup


def test_the_backup_of_any_keras_model_can_be_kept(tmp_path):
    assert fit(tmp_path, delete_checkpoint=False).epochs_done == 2
    assert (tmp_path / "epoch-2-step-0.backup").exists()


def test_backups_of_other_models_within_an_epoch_are_refused(tmp_path):
    with pytest.raises(ValueError, match="supported in `SimCLR.fit` and `fine_tune`"):
        fit(tmp_path, save_freq=1)


def test_a_plain_fit_that_fails_unlocks_the_folder(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    data = np.ones((4, 2)), np.ones((4, 1))
    backup = BackupAndRestore(tmp_path)

    def fail(epoch, logs):
        raise OSError("broken")

    failing = keras.callbacks.LambdaCallback(on_epoch_begin=fail)
    with pytest.raises(OSError, match="broken"):
        model.fit(*data, verbose=0, callbacks=[backup, failing])
    with filelock.FileLock(tmp_path / "backup.lock", timeout=0, is_singleton=False):
        pass


def test_a_fit_after_a_restored_one_starts_over(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    data = np.ones((4, 2)), np.ones((4, 1))
    kept = BackupAndRestore(tmp_path, delete_checkpoint=False)
    model.fit(*data, epochs=1, verbose=0, callbacks=[kept])
    assert model.fit(*data, epochs=3, verbose=0, callbacks=[kept]).epoch == [0, 1, 2]
    assert model.fit(*data, epochs=1, verbose=0).epoch == [0]


def test_a_complete_run_is_restored_with_its_history(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    data = np.ones((4, 2)), np.ones((4, 1))
    kept = BackupAndRestore(tmp_path, delete_checkpoint=False)
    first = model.fit(*data, epochs=2, verbose=0, callbacks=[kept]).history
    assert model.fit(*data, epochs=2, verbose=0, callbacks=[kept]).history == first


def test_without_a_backup_no_epoch_is_done(tmp_path):
    assert BackupAndRestore(tmp_path / "none").epochs_done == 0


def test_a_model_that_was_not_built_is_refused(tmp_path):
    fit(tmp_path, delete_checkpoint=False)
    backup = BackupAndRestore(tmp_path)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    backup.set_model(model)
    with pytest.raises(ValueError, match="must be built"):
        backup.on_train_begin()
    backup.close()


def test_a_model_of_other_shapes_is_refused(tmp_path):
    fit(tmp_path, delete_checkpoint=False)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    with pytest.raises(
        ValueError, match=r"another model or optimizer.*shapes \(3, 1\) and \(2, 1\)"
    ):
        options = {"epochs": 3, "verbose": 0, "callbacks": [BackupAndRestore(tmp_path)]}
        model.fit(np.ones((4, 3)), np.ones((4, 1)), **options)


def test_processes_that_see_different_folders_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(distribution, "same_on_all_processes", lambda number: False)
    with pytest.raises(ValueError, match="All processes must see the same backup"):
        fit(tmp_path)


def test_an_error_of_another_process_ends_this_one(tmp_path, monkeypatch):
    monkeypatch.setattr(distribution, "process_all_gather", lambda number: [number, 1])
    monkeypatch.setattr(distribution, "same_on_all_processes", lambda number: True)
    with pytest.raises(RuntimeError, match="an error in process 1"):
        fit(tmp_path)


def test_a_process_that_does_not_write_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(distribution, "is_main_process", lambda: False)
    fit(tmp_path)
    assert list(tmp_path.iterdir()) == []

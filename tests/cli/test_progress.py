import time

from keras_simclr.cli.progress import Progress


def test_the_time_left_is_that_of_the_remaining_steps(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = Progress()
    progress.set_params({"epochs": 10, "steps": 20})
    progress.on_epoch_begin(0)
    for batch in range(20):
        progress.on_train_batch_begin(batch)
        now[0] += 100 if batch == 0 else 2  # compilation is not counted
    progress.on_epoch_end(0, {"loss": 2.5})
    first, second = capsys.readouterr().err.splitlines()
    assert first == "6 min left"
    assert second == "epoch 1 of 10: loss 2.500, 6 min left"


def test_short_epochs_need_no_estimate(capsys):
    progress = Progress()
    progress.set_params({"epochs": 1, "steps": 1})
    progress.on_epoch_begin(0)
    progress.on_train_batch_begin(0)
    progress.on_epoch_end(0, {"loss": 1.0})
    assert capsys.readouterr().err == "epoch 1 of 1: loss 1.000\n"

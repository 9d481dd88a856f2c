import numpy as np
from sklearn.linear_model import LogisticRegression

from keras_simclr.datasets import load_stl10


def spectra(images):
    """Return the normalized amplitude spectra of the images in gray."""
    gray = images.mean(axis=-1)[:, ::2, ::2]
    amplitudes = np.abs(np.fft.rfft2(gray - gray.mean(axis=(1, 2), keepdims=True)))
    return (amplitudes / amplitudes.sum(axis=(1, 2), keepdims=True)).reshape(len(images), -1)


def test_the_same_seed_writes_the_same_files(tmp_path, write_stl10):
    for name in ("one", "other"):
        write_stl10(tmp_path / name, unlabeled=10, train=10, test=10, seed=3)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert len(files) == 7
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_every_fold_contains_every_class(tmp_path, write_stl10):
    write_stl10(tmp_path / "stl10_binary", unlabeled=10, train=100, test=10)
    for fold in range(10):
        _, labels = load_stl10("train", tmp_path, fold=fold)
        assert np.bincount(labels).tolist() == [2] * 10


def test_the_classes_can_be_learned(tmp_path, write_stl10):
    write_stl10(tmp_path / "stl10_binary", unlabeled=10, train=100, test=50)
    (x_train, y_train), (x_test, y_test) = (load_stl10(s, tmp_path) for s in ("train", "test"))
    probe = LogisticRegression(C=1e4, max_iter=1000).fit(spectra(x_train), y_train)
    assert probe.score(spectra(x_test), y_test) > 0.8

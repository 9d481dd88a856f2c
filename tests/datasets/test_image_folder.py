import sys
import warnings

import imagecodecs
import keras
import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_simclr.datasets import image_folder

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]


def save(path, value, size=(10, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 100, 50)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of 12 images in two classes, whose first value is 10 times their number."""
    for index in range(12):
        save(tmp_path / ("cat" if index < 6 else "dog") / f"{index:02}.png", 10 * index)
    return tmp_path


def load(path, **options):
    return image_folder(path, verbose=False, **options)


def numbers(dataset):
    """Return the numbers of all images of an epoch, in batches."""
    return [(dataset[i][0][:, 0, 0, 0] // 10).tolist() for i in range(dataset.num_batches)]


def test_images_come_in_the_order_of_their_paths(folder):
    dataset = load(folder, batch_size=5)
    assert numbers(dataset) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    assert dataset.file_paths == sorted(map(str, folder.rglob("*.png")))


def test_folders_are_classes(folder):
    dataset = load(folder)
    assert dataset.class_names == ["cat", "dog"] and dataset.labels.tolist() == [0] * 6 + [1] * 6
    np.testing.assert_array_equal(dataset[0][1], dataset.labels)


@pytest.mark.parametrize("nested", [False, True])
def test_images_outside_of_folders_have_no_labels(folder, nested):
    save(folder / "a.png", 0)
    dataset = load(folder)
    assert dataset.labels is None and len(dataset[0]) == 1


def test_labels_can_be_left_out(folder):
    assert load(folder, labels=None).class_names == []


def test_labels_from_folders_can_be_insisted_on(folder):
    save(folder / "a.png", 0)
    with pytest.raises(ValueError, match="one per class.*Received"):
        load(folder, labels="folders")


def test_labels_come_from_a_file(folder):
    (folder / "labels.csv").write_text("dog/09.png,B\ncat/01.png,A\n")
    dataset = load(folder, labels=folder / "labels.csv")
    assert numbers(dataset) == [[9, 1]] and dataset.labels.tolist() == [1, 0]


def test_classes_keep_their_order_in_other_data(folder):
    dataset = load(folder, class_names=["ant", "dog", "cat"])
    assert dataset.labels.tolist() == [2] * 6 + [1] * 6


def test_unknown_classes_are_refused(folder):
    with pytest.raises(ValueError, match=r"`class_names`. Received: \['dog'\]"):
        load(folder, class_names=["cat"])


def test_small_images_of_one_size_keep_it(folder, capsys):
    image_folder(folder)
    text = "Found 12 images in 2 classes, read as 10 x 10 x 3, uint8.\n"
    assert capsys.readouterr().out == text


def test_images_of_several_sizes_become_squares_of_their_median(tmp_path):
    for index, size in enumerate([(30, 60), (50, 40), (70, 90)]):
        save(tmp_path / f"{index}.png", 0, size)
    assert load(tmp_path).images.shape == (3, 40, 40, 3)


def test_large_images_become_96_pixels_wide(tmp_path):
    save(tmp_path / "a.jpg", 0, (300, 200))
    assert load(tmp_path).images.shape == (1, 96, 96, 3)


def test_gray_images_have_one_channel(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert load(tmp_path)[0][0].shape == (1, 8, 8, 1)


def test_white_of_deep_images_is_found(tmp_path):
    for index, value in enumerate((100, 4000)):
        Image.fromarray(np.full((8, 8), value, "uint16")).save(tmp_path / f"{index}.png")
    images = load(tmp_path)[0][0]
    assert images.dtype == "float32"
    np.testing.assert_allclose(images[:, 0, 0, 0], [100 * 255 / 4095, 4000 * 255 / 4095])


def test_bands_are_counted(tmp_path, rng):
    tifffile.imwrite(tmp_path / "a.tif", rng.random((8, 8, 5)), planarconfig="contig")
    assert load(tmp_path).images.shape == (1, 8, 8, 5)


def test_broken_files_are_left_out_and_listed(folder):
    (folder / "cat" / "03.png").write_bytes(b"")
    (folder / "dog" / "07.png").write_bytes((folder / "dog" / "07.png").read_bytes()[:-30])
    with pytest.warns(UserWarning, match="03.png.*is empty"):
        dataset = load(folder, batch_size=6, max_broken=0.2)
        assert numbers(dataset) == [[0, 1, 2, 4, 5], [6, 8, 9, 10, 11]]
    assert sorted(path[-6:] for path in dataset.broken) == ["03.png", "07.png"]
    assert len(dataset.file_paths) == len(dataset.labels) == 10


def test_files_of_text_only_are_no_images(tmp_path):
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(ValueError, match="No image could be read.*not a JPEG"):
        load(tmp_path)


def test_a_bomb_is_left_out_and_named(folder, monkeypatch):
    save(folder / "cat" / "bomb.png", 0, (100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.warns(UserWarning, match="bomb.png.*exceeds limit"):
        dataset = load(folder)
    assert len(numbers(dataset)[0]) == 12


def test_too_many_broken_files_are_an_error(folder):
    for index in range(3):
        (folder / "cat" / f"{index:02}.png").write_bytes(b"")
    with pytest.raises(ValueError, match="max_broken=0.2, but so far 3 of 12 files"):
        load(folder, max_broken=0.2)


def test_files_that_vanish_are_found_out_later(folder):
    dataset = load(folder)
    for path in dataset.file_paths[:5]:
        (folder / path).unlink()
    with pytest.raises(ValueError, match="5 of 12 files.*No such file"):
        dataset[0]


@pytest.mark.parametrize("name", ["notes.txt", None])
def test_a_folder_without_images_is_refused(tmp_path, name):
    if name:
        (tmp_path / name).write_text("hello")
    words = "no images.*end in .txt" if name else "no images"
    with pytest.raises(ValueError, match=words):
        load(tmp_path)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="existing folder"):
        load(tmp_path / "none")


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"channels": 0}, {"max_value": -1}, {"max_broken": 2}]
)
def test_wrong_arguments_are_refused(folder, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        load(folder, **options)


def test_one_image_is_refused_by_fit_with_a_reason(tmp_path, make_model):
    save(tmp_path / "a.png", 0)
    with pytest.raises(ValueError, match="at least 2 images"):
        make_model().fit(load(tmp_path), verbose=0)


@pytest.mark.every_backend
def test_fit_shuffles_like_an_array_of_the_same_images(folder, make_model):
    dataset = load(folder, batch_size=4)
    arrays = np.concatenate([dataset[i][0] for i in range(3)])
    histories = [
        make_model().fit(*data, verbose=0, epochs=2, **options).history["loss"]
        for data, options in [((dataset,), {}), ((arrays,), {"batch_size": 4})]
    ]
    assert histories[0] == histories[1]


@pytest.mark.every_backend
def test_fine_tuning_is_that_on_arrays(folder, pretrained):
    dataset = load(folder, batch_size=4)
    arrays = np.concatenate([dataset[i][0] for i in range(3)]), dataset.labels
    options = {"epochs": 2, "verbose": 0, "steps_per_epoch": 2}
    one = pretrained.fine_tune(dataset, **options).get_weights()
    other = pretrained.fine_tune(*arrays, batch_size=4, **options).get_weights()
    for weight, its_weight in zip(one, other, strict=True):
        np.testing.assert_array_equal(weight, its_weight)


@pytest.mark.every_backend
def test_rows_of_predict_are_in_the_order_of_the_files(folder, pretrained):
    (folder / "dog" / "07.png").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = load(folder, batch_size=5)
        features = pretrained.predict(dataset, verbose=0)
    images = np.stack([np.asarray(Image.open(path)) for path in dataset.file_paths])
    np.testing.assert_allclose(features, pretrained.predict(images, verbose=0), rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Some image files")
def test_a_batch_of_broken_files_only_changes_no_result(folder, pretrained):
    classifier = pretrained.fine_tune(load(folder), epochs=1, verbose=0)
    for index in (4, 5, 6, 7):
        (folder / ("cat" if index < 6 else "dog") / f"{index:02}.png").write_bytes(b"")
    dataset = load(folder, batch_size=4, max_broken=0.4)
    arrays = np.concatenate([dataset[i][0] for i in range(3)]), dataset.labels
    assert len(pretrained.predict(dataset, verbose=0)) == 8
    expected = classifier.evaluate(*arrays, verbose=0)
    np.testing.assert_allclose(classifier.evaluate(dataset, verbose=0), expected, rtol=1e-5)
    assert np.isfinite(pretrained.evaluate(dataset, verbose=0)).all()


def test_colors_of_deep_pngs_are_read_with_all_bits(tmp_path, rng):
    colors = rng.integers(60000, 65536, (8, 8, 3)).astype("uint16")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(colors))
    np.testing.assert_allclose(load(tmp_path)[0][0][0], colors * (255 / 65535), rtol=1e-6)


@pytest.mark.parametrize("channels", [2, 4])
def test_deep_pngs_are_shown_on_white(tmp_path, channels):
    image = np.full((8, 8, channels), 1000, "uint16")
    image[:4, :, -1] = 0
    image[4:, :, -1] = 65535
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(image))
    found = load(tmp_path, max_value=65535)[0][0][0]
    assert found.shape[-1] == channels - 1 and (found[:4] == 255).all()
    np.testing.assert_allclose(found[4:], 1000 * 255 / 65535, rtol=1e-6)


def test_without_imagecodecs_it_is_said_what_deep_pngs_lose(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.full((8, 8, 3), 1000, "uint16")))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.warns(UserWarning, match=r"lower bits are lost.*keras-simclr\[tiff\]"):
        assert load(tmp_path)[0][0].dtype == "uint8"


def test_a_classifier_evaluates_and_predicts_a_folder(folder, pretrained):
    dataset = load(folder, batch_size=5)
    classifier = pretrained.fine_tune(dataset, epochs=1, verbose=0, validation_data=dataset)
    probabilities = classifier.predict(dataset, verbose=0)
    accuracy = np.mean(probabilities.argmax(-1) == dataset.labels)
    assert classifier.evaluate(dataset, verbose=0)[1] == pytest.approx(accuracy, abs=1e-6)


def test_validation_data_of_other_classes_are_refused(folder, pretrained, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for name in ("ant", "cat"):
        save(other / name / "a.png", 0)
    with pytest.raises(ValueError, match="same classes.*ant"):
        pretrained.fine_tune(load(folder), validation_data=load(other))


def test_fine_tuning_without_labels_is_refused(folder, pretrained):
    with pytest.raises(ValueError, match="Fine-tuning needs labels"):
        pretrained.fine_tune(load(folder, labels=None))


@pytest.mark.every_backend
def test_other_keras_models_take_a_folder(folder, backbone):
    model = keras.Sequential([backbone, keras.layers.GlobalMaxPool2D(), keras.layers.Dense(2)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(model.fit(load(folder), verbose=0).history["loss"]).all()

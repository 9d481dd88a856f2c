"""Handwritten digits, which come with scikit-learn and need no download."""

import numpy as np

from keras_simclr.validation import check_positive_integer

ORIGINAL_SIZE = 8
MAX_VALUE = 16

Split = tuple[np.ndarray, np.ndarray]


def load_digits(image_size: int = 32) -> tuple[Split, Split]:
    """Load scikit-learn's 1,797 handwritten digits, with a fixed split.

    The images of 8 x 8 pixels are resized with Pillow's bicubic filter.

    Args:
        image_size: Height and width of the images in pixels, at least 8. Defaults to 32.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images of shape (N, image_size, image_size, 1),
        uint8 in 0..255, and labels 0..9 of shape (N,), int64. N is 1,347 for training and 450
        for testing, with the same proportion of each class.

    Raises:
        ValueError: If `image_size` is below 8.

    Example:
    >>> (x_train, y_train), (x_test, y_test) = load_digits(image_size=16)
    >>> x_train.shape, x_test.shape
    ((1347, 16, 16, 1), (450, 16, 16, 1))

    References:
        Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI (its test set).
    """
    check_positive_integer("image_size", image_size, min_=ORIGINAL_SIZE)
    from sklearn import datasets, model_selection

    digits = datasets.load_digits()
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        _resize(digits.images, image_size),
        digits.target.astype("int64"),
        train_size=1347,
        test_size=450,
        stratify=digits.target,
        random_state=0,
    )
    return (x_train, y_train), (x_test, y_test)


def _resize(images, image_size):
    from PIL import Image

    images = np.round(images * (255 / MAX_VALUE)).astype("uint8")
    size = (image_size, image_size)
    resized = [Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image) for image in resized])[..., None]

"""Handwritten digits that come with scikit-learn: real pictures without a download."""

import numpy as np

OWN_SIZE = 8
HIGHEST_VALUE = 16


def load_digits(image_size=32):
    """Return scikit-learn's 1,797 handwritten digits, always split in the same way.

    The pictures of 8 x 8 pixels are enlarged by Pillow's bicubic filter.

    Args:
        image_size: Height and width of the pictures in pixels, at least 8. Defaults to 32.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: pictures of shape (N, image_size, image_size, 1),
        uint8 in 0..255, and labels 0..9 of shape (N,), int64. N is 1,347 for training and 450
        for testing; both hold every class in the same proportion.

    Raises:
        ValueError: If `image_size` is below 8.

    Example:
    >>> (x_train, y_train), (x_test, y_test) = load_digits(image_size=16)
    >>> x_train.shape, x_test.shape
    ((1347, 16, 16, 1), (450, 16, 16, 1))

    Source: the test set of Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI.
    """
    if image_size < OWN_SIZE:
        raise ValueError(
            f"`image_size` must be at least {OWN_SIZE}, the digits' own size. "
            f"Received: image_size={image_size}."
        )
    from sklearn import datasets, model_selection

    digits = datasets.load_digits()
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        _enlarged(digits.images, image_size),
        digits.target.astype("int64"),
        train_size=1347,
        test_size=450,
        stratify=digits.target,
        random_state=0,
    )
    return (x_train, y_train), (x_test, y_test)


def _enlarged(pictures, image_size):
    from PIL import Image

    pictures = np.round(pictures * (255 / HIGHEST_VALUE)).astype("uint8")
    size = (image_size, image_size)
    enlarged = [Image.fromarray(p).resize(size, Image.Resampling.BICUBIC) for p in pictures]
    return np.stack([np.asarray(picture) for picture in enlarged])[..., None]

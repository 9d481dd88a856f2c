"""Logistic regression on features."""

from typing import Any

from keras_simclr.evaluation.features import check_features, encode_labels


def linear_probe(features: Any, labels: Any, C: float = 1.0, max_iter: int = 1000) -> Any:
    """Fit scikit-learn's logistic regression to features that are scaled to unit variance.

    Args:
        features: Array of shape (N, D), as returned by `model.predict(images)`.
        labels: Classes, of shape (N,).
        C: Inverse strength of the L2 penalty. Defaults to 1.0.
        max_iter: Maximum number of iterations of the solver. Defaults to 1000.

    Returns:
        A fitted `sklearn.pipeline.Pipeline`: `.score(features, labels)` returns the accuracy in
        0..1, `.predict(features)` the classes.

    Raises:
        ValueError: If shapes do not match, a feature is not finite, or there is only one class.

    Example:
    >>> probe = linear_probe([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0]], [0, 0, 1])
    >>> probe.score([[0.0, 0.8], [0.9, 0.1]], [0, 1])
    1.0

    References:
        Chen et al. 2020 (arXiv:2002.05709), appendix B.8 (linear evaluation by L-BFGS).
    """
    features, labels = check_features(features, labels)
    encode_labels(labels)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=max_iter))
    return probe.fit(features, labels)

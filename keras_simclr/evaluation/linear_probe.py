"""Logistic regression on features."""

from keras_simclr.evaluation.features import checked_features, classes_of


def linear_probe(features, labels, C=1.0, max_iter=1000):
    """Fit scikit-learn's logistic regression to features, each scaled to unit variance first.

    Args:
        features: Array of shape (N, D), as `model.predict(images)` gives.
        labels: Classes, of shape (N,).
        C: Inverse strength of the L2 penalty. Defaults to 1.0.
        max_iter: Most iterations of the solver. Defaults to 1000.

    Returns:
        A fitted `sklearn.pipeline.Pipeline`: `.score(features, labels)` gives the accuracy in
        0..1, `.predict(features)` the classes.

    Raises:
        ValueError: If shapes or lengths do not fit, a feature is not finite, or there is one
            class only.

    Example:
    >>> probe = linear_probe([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0]], [0, 0, 1])
    >>> probe.score([[0.0, 0.8], [0.9, 0.1]], [0, 1])
    1.0

    Source: Chen et al. 2020 (arXiv:2002.05709), appendix B.8 (linear evaluation by L-BFGS).
    """
    features, labels = checked_features(features, labels)
    classes_of(labels)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=max_iter))
    return probe.fit(features, labels)

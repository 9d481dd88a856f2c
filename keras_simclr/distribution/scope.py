"""The distribution scope of a model."""

import functools


def run_in_scope(method):
    """Decorate a method of a model to run in the scope in which the model was created."""

    @functools.wraps(method)
    def in_scope(self, *args, **kwargs):
        with self._scope():
            return method(self, *args, **kwargs)

    return in_scope

"""Models stay where they were made."""

import functools


def in_own_scope(method):
    """Let a method of a model run in the scope in which the model was made."""

    @functools.wraps(method)
    def in_scope(self, *args, **kwargs):
        with self._scope():
            return method(self, *args, **kwargs)

    return in_scope

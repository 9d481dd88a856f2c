"""How a model is fed and stepped; the one place, beside `distribution`, that knows the backend."""

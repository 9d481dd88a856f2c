"""Training on views: `compile`, `fit`, `evaluate`, `predict` and their steps."""

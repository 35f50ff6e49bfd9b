"""What plain classifiers learn from a split: features, and the classifiers."""

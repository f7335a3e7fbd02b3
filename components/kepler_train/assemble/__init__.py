"""From a window to the training and held-out parts of one feature group."""

"""The step `train`: a feature group's training part to a candidate, by one training pipeline in the unified format."""

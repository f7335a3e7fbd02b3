"""The unified training pipeline, the shipped families of models, and the step that runs one of them."""

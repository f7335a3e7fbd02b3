"""The Kubeflow Pipelines workflow: the only code that imports kfp."""

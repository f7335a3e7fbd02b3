"""From the store to running estimators: the folder they read, kept up to date, and the rollout that lets them read it.

Small on purpose, since it runs beside every estimator: no scikit-learn, TensorFlow, pandas or pyarrow.
"""

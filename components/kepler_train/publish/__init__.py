"""From candidate to store to the folder an estimator reads."""

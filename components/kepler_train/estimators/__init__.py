"""What each generation of kepler-estimator does with a model, done here exactly as it does it."""

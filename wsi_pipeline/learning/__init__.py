"""The patch classifier's own life: data sets, splits, training, evaluation (a home of keras)."""

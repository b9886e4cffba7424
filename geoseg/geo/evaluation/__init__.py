"""Maps compared with labels: the scores of a prediction."""

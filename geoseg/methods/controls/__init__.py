"""Controls: baselines that do not learn features from unlabelled images."""

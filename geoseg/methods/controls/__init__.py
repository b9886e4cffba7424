"""Controls: what can be had without learning from unlabelled images."""

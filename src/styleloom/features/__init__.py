"""Feature networks: which there are, their weights, and the resize rule of each."""

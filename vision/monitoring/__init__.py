"""Statistics of what was served: drift and its error rates, its causes, estimates of accuracy, sequential tests."""

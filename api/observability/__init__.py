"""What operators see of the running service: metrics, logs, traces."""

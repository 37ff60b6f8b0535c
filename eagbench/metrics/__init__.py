"""The core's metrics: one module per family, registered by `eagbench.metrics.plugin`."""

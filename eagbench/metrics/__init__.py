"""The built-in metrics: one module per family. They come in through the hook in `eagbench.metrics.plugin`."""

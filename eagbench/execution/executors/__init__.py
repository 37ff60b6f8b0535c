"""Who walks a plan: one module per executor. Executors know order and failure, never what a stage does."""

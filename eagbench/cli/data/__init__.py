"""`eagbench data`: arguments in `app`, a module per command that does more than list."""

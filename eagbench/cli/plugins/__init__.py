"""`eagbench plugins`: write, show and check plugins."""

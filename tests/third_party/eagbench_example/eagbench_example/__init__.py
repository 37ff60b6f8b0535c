"""An expert, a search and a reward from outside eagbench."""

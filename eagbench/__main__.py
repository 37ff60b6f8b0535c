"""`python -m eagbench`."""

from eagbench.cli.main import program

program()

"""`python -m eagbench`."""

from eagbench.cli import main

main()

"""`python -m eagbench`."""

from eagbench.cli.main import main

main()

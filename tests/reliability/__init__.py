"""Faults done to eagbench on purpose, and counted: `make reliability` writes the table of docs/reliability.md."""

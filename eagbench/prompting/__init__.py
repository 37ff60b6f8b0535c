"""Rendering cases as text, prompting policies and parsing their answers."""

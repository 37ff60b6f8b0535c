"""Policies: language models that read a case as text."""

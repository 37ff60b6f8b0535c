"""Plugins that misbehave on purpose."""

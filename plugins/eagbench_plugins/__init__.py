"""The built-in plugins, found through the entry points that third parties use."""

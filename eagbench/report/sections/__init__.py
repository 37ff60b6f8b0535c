"""The contents of the page, a module per part."""

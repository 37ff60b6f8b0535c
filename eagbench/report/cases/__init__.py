"""Single cases, in the terminal and as a page beside the report."""

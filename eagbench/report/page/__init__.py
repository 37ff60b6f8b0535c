"""The page: its blocks, and how they become one HTML file."""

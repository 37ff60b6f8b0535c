"""What the page says, a module per part of it."""

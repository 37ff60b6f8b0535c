"""Methods that only prompt a frozen policy."""

"""How a case becomes text, what a policy is asked to write, and how its answer is read."""

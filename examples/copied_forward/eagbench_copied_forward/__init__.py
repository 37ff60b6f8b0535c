"""The perturbation `copied_forward` for eagbench."""

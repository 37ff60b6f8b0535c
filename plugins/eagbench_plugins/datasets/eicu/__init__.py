"""eICU-CRD."""

"""eICU-CRD, read through PyHealth."""

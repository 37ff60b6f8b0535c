"""Statistics of metrics: bootstrap intervals, tests, rank correlations and calibration."""

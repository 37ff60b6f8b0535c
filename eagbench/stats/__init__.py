"""Statistics on metrics: intervals by resampling patients."""

"""The bundle of aggregates that may be passed on: small cells suppressed, no case, no path, no words of errors."""

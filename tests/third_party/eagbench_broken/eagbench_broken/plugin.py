"""Fails as a real plugin would whose dependency has gone."""

import a_package_that_nobody_has  # noqa: F401

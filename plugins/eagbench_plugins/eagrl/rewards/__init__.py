"""Rewards of a trajectory. In all of them an unparsed answer gets less than the worst parsed one."""

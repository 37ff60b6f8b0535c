"""The installed components and the version of their code."""

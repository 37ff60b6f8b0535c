# The types of what `__init__.py` finds when it is used.

from eagbench.errors import UserError as UserError
from eagbench.session.front import list_runs as list_runs
from eagbench.session.front import open_run as open_run
from eagbench.session.front import run as run
from eagbench.session.run import Run as Run

__version__: str

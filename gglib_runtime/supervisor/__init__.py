"""The supervisor: runs engine processes and fills the ports `ModelRuntime` and `ModelLogs`.

    async with open_supervisor(SupervisorSettings(), policy=…, catalog=…, …) as supervisor:
        lease = await supervisor.admit(model, context=4096)

`list_children` and `sweep` know the engines that a data directory has on record.
"""

from gglib_runtime.supervisor.logs import EngineLogs
from gglib_runtime.supervisor.opening import open_supervisor
from gglib_runtime.supervisor.pidfile import ChildRecord, RecordedChild, list_children, sweep
from gglib_runtime.supervisor.settings import SupervisorSettings
from gglib_runtime.supervisor.supervisor import Supervisor
from gglib_runtime.supervisor.timings import SwapTimings

__all__ = [
    "ChildRecord",
    "EngineLogs",
    "RecordedChild",
    "Supervisor",
    "SupervisorSettings",
    "SwapTimings",
    "list_children",
    "open_supervisor",
    "sweep",
]

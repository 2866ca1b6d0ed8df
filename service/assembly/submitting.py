"""The providers, and the workers that submit tasks and check them."""

from functools import partial

from service.assembly.foundation import Foundation
from service.core.task import Task
from service.flows.check import TaskChecker
from service.flows.submit import Submitter
from service.net.provider_client import HttpProviderClient
from service.net.provider_http import HttpSender
from service.ports.outlets import Outlet
from service.ports.providers import Provider
from service.providers.modelslab.provider import ModelsLab
from service.providers.piapi.provider import PiAPI
from service.settings import Settings
from service.workers.checks import Checks
from service.workers.deadlines import Deadlines
from service.workers.hold import Holder
from service.workers.rescue import Rescuer
from service.workers.submit_queue import ProviderQueue
from service.workers.submit_queues import SubmitQueues
from service.workers.sweep import Sweeper
from service.workers.unconfigured import warn_of_open_tasks


class Submitting:
    """`outlet` validates the callback addresses of new tasks."""

    def __init__(self, base: Foundation, outlet: Outlet) -> None:
        store, timing, keeper, lease = base.store, base.timing, base.keeper, base.lease
        self._store = store
        # Also those without a key: callbacks still come for tasks from before the key was removed.
        self.readers = {provider.name: provider for provider in build_providers(base.settings)}
        usable = configured(base.settings)
        usable_readers = {name: provider for name, provider in self.readers.items() if name in usable}
        self.providers: dict[str, Provider] = dict(usable_readers)
        self._sender = HttpSender()
        self.clients = {name: HttpProviderClient(provider, self._sender) for name, provider in usable_readers.items()}
        self.holder = Holder(store, timing, keeper)
        self.queues = SubmitQueues(
            [ProviderQueue(client, base.callbacks, self.holder, lease) for client in self.clients.values()]
        )
        self.submitter = Submitter(
            store,
            TaskChecker(self.providers, outlet),
            base.callbacks,
            timing,
            partial(self.queues.wake, fresh=True),
        )
        checks = Checks(store, base.callbacks, timing, keeper)
        self._sweeper = Sweeper(store.checks, self.clients, checks, timing, lease.watchdog)
        self._deadlines = Deadlines(store, timing, lease.watchdog)
        self._rescuer = Rescuer(store, self._streams, timing, lease)

    def _streams(self, task: Task) -> bool:
        reader = self.readers.get(task.provider)
        return reader is not None and reader.stream_reader(task) is not None

    async def start(self, alone: bool) -> None:
        """`alone`: no other process runs, so all claims are free at once."""
        await self._rescuer.start(alone)
        await warn_of_open_tasks(self._store, sorted(self.readers.keys() - self.providers.keys()))
        self.queues.start()
        self._sweeper.start()
        self._deadlines.start()

    @property
    def sweeping(self) -> bool:
        return self._sweeper.alive and self._deadlines.alive

    async def stop_checking(self) -> None:
        await self._sweeper.stop()
        await self._deadlines.stop()
        await self._rescuer.stop()

    async def stop(self, patience: float) -> None:
        """Running submits get `patience` seconds to end."""
        await self.queues.stop(patience)

    async def close(self) -> None:
        await self._sender.close()


def build_providers(settings: Settings) -> list[PiAPI | ModelsLab]:
    return [
        PiAPI(
            settings.piapi_api_key or "",
            settings.piapi_base_url,
            settings.piapi_llm_base_url,
            settings.piapi_max_inflight,
        ),
        ModelsLab(settings.modelslab_api_key or "", settings.modelslab_base_url, settings.modelslab_max_inflight),
    ]


def configured(settings: Settings) -> set[str]:
    """The providers that have a key: tasks of others are refused with `provider_not_configured`."""
    keys = {"piapi": settings.piapi_api_key, "modelslab": settings.modelslab_api_key}
    return {name for name, key in keys.items() if key}

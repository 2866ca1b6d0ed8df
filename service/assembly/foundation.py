"""What all groups share: the store, secrets and addresses, timing, and the lease of this process."""

from service.assembly.storage import file_storage
from service.core.times import now_ms
from service.core.transitions import Timing
from service.flows.callbacks import Callbacks
from service.flows.hub import Hub
from service.flows.inline import InlineKeeper
from service.net.lookups import Lookups
from service.ports.store import Store
from service.settings import Settings
from service.wire.tokens import Tokens
from service.workers.lease import Lease


class Foundation:
    """`local_secret` is stored in the database, and signs what must outlive a rotation of SECRET_KEY."""

    def __init__(self, settings: Settings, store: Store, local_secret: str) -> None:
        self.settings = settings
        self.store = store
        self.local_secret = local_secret
        self.secret_keys = settings.secret_keys or (local_secret,)
        self.tokens = Tokens(self.secret_keys)
        self.callbacks = Callbacks(settings.public_url, self.tokens)
        self.files = file_storage(settings, store, local_secret)
        self.timing = Timing(
            settings.sweep_after, settings.task_deadline, now_ms, copies=self.files.results is not None
        )
        self.keeper = InlineKeeper(self.files.inline, self.files.inline_addresses.of)
        self.lookups = Lookups()
        self.lease = Lease(store)
        self.hub = Hub()

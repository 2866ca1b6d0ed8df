"""Everything that receives requests: the API, the pages, the callback endpoints."""

from service import __version__
from service.assembly.delivering import Delivering
from service.assembly.foundation import Foundation
from service.assembly.observing import Observing
from service.assembly.submitting import Submitting
from service.flows.browse import Browser
from service.flows.cancel import Canceler
from service.flows.receive import CallbackHandler
from service.flows.redeliver import Redeliverer
from service.flows.subscribe import SubscriptionManager
from service.flows.turns import Turns
from service.flows.wait import FinishWaiter
from service.providers.catalog import catalog
from service.providers.redact import audit
from service.web.api.deliveries import DeliveryRoutes
from service.web.api.events import EventRoutes
from service.web.api.files import FileRoutes
from service.web.api.operator import OperatorRoutes
from service.web.api.public import PublicRoutes
from service.web.api.stream import Feed
from service.web.api.subscriptions import SubscriptionRoutes
from service.web.api.tasks import TaskRoutes
from service.web.app import Application, create_app
from service.web.auth import Keys
from service.web.budget import Budget
from service.web.diagnosis import DiagnosisDoor
from service.web.door import Door
from service.web.operations.operation import Endpoint
from service.web.page.flows import Flows
from service.web.page.site import Site, gate_of
from service.web.requests import Bodies
from service.wire.diagnosis import Diagnosis

# Bytes in memory at once, of all callers and of one: request bodies of the API, pages of replayed events.
# Callbacks have room for one of the largest; the share is that of a provider.
API_BODIES = 32 * 1024 * 1024, 8 * 1024 * 1024
REPLAYS = 24 * 1024 * 1024, 8 * 1024 * 1024
CALLBACK_SHARE = 16 * 1024 * 1024
# Seconds for `Prefer: wait`; Heroku's router ends a request without a byte for 30 s.
LONGEST_WAIT, HEROKU_WAIT = 120, 25


class Web:
    """`site` are the pages; `app` is everything."""

    def __init__(self, base: Foundation, submitting: Submitting, delivering: Delivering, observing: Observing) -> None:
        self._base, self._observing = base, observing
        settings, store = base.settings, base.store
        self._bodies = Bodies(settings.max_body_bytes, Budget(*API_BODIES))
        subscriptions = SubscriptionManager(
            store, delivering.dispatcher, delivering.outlet, settings.max_subscriptions, delivering.replayer.wake
        )
        self.turns = Turns()
        self._flows = Flows(
            Browser(store, self.turns),
            submitting.submitter,
            Canceler(store, submitting.clients, base.timing),
            subscriptions,
            Redeliverer(store, delivering.dispatcher),
            submitting.holder.text_so_far,
        )
        self._keys = Keys(settings.api_keys, settings.rate_limit)
        gate = gate_of(base.secret_keys, settings.api_keys, self._bodies)
        self.site = Site(gate, self._flows, store.insight, base.hub, settings.public_url)
        self.site.live.follow(delivering.attempts.observers, lambda: base.lease.living > 1)
        handler = CallbackHandler(store, submitting.readers, base.tokens, base.timing, base.keeper)
        bodies = Bodies(settings.max_webhook_bytes, Budget(settings.max_webhook_bytes, CALLBACK_SHARE))
        door = Door(handler, bodies, audit, observing.counters.on_callback)
        self.app: Application = create_app(door, self._keys, self._endpoints(), self.site.routes)
        self.app.site = DiagnosisDoor(self.app.site, Diagnosis(base.local_secret))

    def _endpoints(self) -> list[Endpoint]:
        base, flows, observing, files = self._base, self._flows, self._observing, self._base.files
        waiter = FinishWaiter(flows.browser, base.hub, HEROKU_WAIT if base.settings.on_heroku else LONGEST_WAIT)
        feed = Feed(base.store, base.hub, Budget(*REPLAYS), self.turns)
        return [
            *TaskRoutes(flows.browser, flows.submitter, flows.canceler, waiter, self._bodies).endpoints(),
            *EventRoutes(feed, flows.browser, self._keys, base.tokens).endpoints(),
            *SubscriptionRoutes(flows.browser, flows.subscriptions, base.tokens, self._bodies).endpoints(),
            *DeliveryRoutes(flows.browser, flows.redeliverer).endpoints(),
            *PublicRoutes(catalog(), __version__).endpoints(),
            *OperatorRoutes(__version__, observing.readiness.troubles, observing.scrape).endpoints(),
            *FileRoutes(
                files.inline, files.inline_addresses, base.store.copies, files.copy_addresses, files.results
            ).endpoints(),
        ]

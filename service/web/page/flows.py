"""The flows behind the pages: the same ones as behind the API."""

from collections.abc import Callable
from dataclasses import dataclass

from service.flows.browse import Browser
from service.flows.cancel import Canceler
from service.flows.redeliver import Redeliverer
from service.flows.submit import Submitter
from service.flows.subscribe import SubscriptionManager


@dataclass(frozen=True, slots=True)
class Flows:
    """`text_so_far` gives the growing text of a task whose stream this process holds."""

    browser: Browser
    submitter: Submitter
    canceler: Canceler
    subscriptions: SubscriptionManager
    redeliverer: Redeliverer
    text_so_far: Callable[[str], str]

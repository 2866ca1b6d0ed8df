"""Every operation of the API. Add a new one to its file's ALL and to the `endpoints()` that serves it."""

from service.web.operations import deliveries, events, public, subscriptions, tasks

OPERATIONS = (*tasks.ALL, *events.ALL, *subscriptions.ALL, *deliveries.ALL, *public.ALL, *public.DOORS)

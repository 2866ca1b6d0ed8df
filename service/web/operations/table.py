"""Every operation of the API. A new one goes into its file's ALL and into the `endpoints()` that serve it."""

from service.web.operations import deliveries, events, public, subscriptions, tasks

OPERATIONS = (*tasks.ALL, *events.ALL, *subscriptions.ALL, *deliveries.ALL, *public.ALL, *public.DOORS)

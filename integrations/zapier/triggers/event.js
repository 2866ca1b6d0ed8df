'use strict';

const { url } = require('../lib/api');
const sample = require('./sample.json');

const TYPES = {
  'task.completed': 'Task completed',
  'task.failed': 'Task failed',
  'task.canceled': 'Task canceled',
  'task.stored': 'Result files stored',
  'task.unconfirmed': 'Task needs a decision',
  'task.queued': 'Task queued',
  'task.submitted': 'Task submitted',
  'task.processing': 'Task started',
  'subscription.disabled': 'Subscription disabled',
};

const chosen = (bundle) => bundle.inputData.events || ['task.completed'];

const subscribe = async (z, bundle) => {
  const response = await z.request({
    url: url(bundle, '/v1/subscriptions'),
    method: 'POST',
    body: { url: bundle.targetUrl, events: chosen(bundle), description: 'Zapier' },
  });
  return { id: response.data.id };
};

const unsubscribe = async (z, bundle) => {
  const response = await z.request({
    url: url(bundle, `/v1/subscriptions/${bundle.subscribeData.id}`),
    method: 'DELETE',
    skipThrowForStatus: true,
  });
  // Removed by hand meanwhile: what was asked for is so.
  return { removed: [204, 404].includes(response.status) };
};

const latest = async (z, bundle) => {
  const response = await z.request({
    url: url(bundle, '/v1/events/latest'),
    params: { types: chosen(bundle).join(','), limit: 3 },
  });
  return response.data;
};

module.exports = {
  key: 'event',
  noun: 'Event',
  display: {
    label: 'Task Finished',
    description: 'Triggers when a task is completed, fails, or reaches another state that you choose.',
  },
  operation: {
    type: 'hook',
    inputFields: [
      {
        key: 'events',
        label: 'Events',
        list: true,
        choices: TYPES,
        helpText: 'Which events start the Zap. Without a choice: task completed.',
      },
    ],
    performSubscribe: subscribe,
    performUnsubscribe: unsubscribe,
    perform: (z, bundle) => [bundle.cleanedRequest],
    performList: latest,
    sample,
    outputFields: [
      { key: 'id', label: 'Event ID' },
      { key: 'type', label: 'Event' },
      { key: 'data__id', label: 'Task ID' },
      { key: 'data__status', label: 'Status' },
      { key: 'data__output__url', label: 'Result URL' },
      { key: 'data__output__text', label: 'Result Text' },
      { key: 'data__error__message', label: 'Error' },
    ],
  },
};

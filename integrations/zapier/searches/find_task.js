'use strict';

const { url } = require('../lib/api');
const { task: sample } = require('../lib/samples');

const find = async (z, bundle) => {
  const { id, metadata_key: key, metadata_value: value, status } = bundle.inputData;
  if (id) {
    const response = await z.request({
      url: url(bundle, `/v1/tasks/${encodeURIComponent(id)}`),
      skipThrowForStatus: true,
    });
    if (response.status === 404) {
      return [];
    }
    response.throwForStatus();
    return [response.data];
  }
  if (!key || !value) {
    throw new z.errors.Error('Give a Task ID, or a Metadata Key and its Value.', 'invalid_request', 400);
  }
  const response = await z.request({
    url: url(bundle, '/v1/tasks'),
    params: { [`metadata.${key}`]: value, ...(status ? { status } : {}), limit: 1 },
  });
  return response.data.data;
};

module.exports = {
  key: 'find_task',
  noun: 'Task',
  display: { label: 'Find a Task', description: 'Finds a task by its ID, or the newest one with a metadata value.' },
  operation: {
    inputFields: [
      { key: 'id', label: 'Task ID' },
      { key: 'metadata_key', label: 'Metadata Key' },
      { key: 'metadata_value', label: 'Metadata Value' },
      {
        key: 'status',
        label: 'Status',
        choices: ['queued', 'unconfirmed', 'submitted', 'processing', 'completed', 'failed', 'canceled'],
      },
    ],
    perform: find,
    sample,
    outputFields: [
      { key: 'id', label: 'Task ID' },
      { key: 'status', label: 'Status' },
      { key: 'output__url', label: 'Result URL' },
    ],
  },
};

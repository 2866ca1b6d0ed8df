'use strict';

const { catalog, url } = require('../lib/api');
const { Schemas, fieldsOf, inputOf } = require('../lib/schema');
const { task: sample } = require('../lib/samples');

/** The fields of the chosen task type; one for JSON where Callbridge does not know the model. */
const taskFields = async (z, bundle) => {
  const { provider, model, task_type: name } = bundle.inputData;
  if (!provider || !model || !name) {
    return [];
  }
  const entry = (await catalog(z, bundle))
    .filter((one) => one.provider === provider)
    .flatMap((one) => one.models)
    .filter((one) => one.model === model)
    .flatMap((one) => one.task_types)
    .find((one) => one.task_type === name);
  const fields = entry ? fieldsOf(await new Schemas(z, bundle).flat(entry.input_schema)) : [];
  return [...fields, JSON_FIELD];
};

const JSON_FIELD = {
  key: 'more_json',
  label: 'More Input (JSON)',
  type: 'text',
  helpText: 'An object with further fields of the input, as the documents of the provider print them.',
};

const moreInput = (z, text) => {
  let more = {};
  try {
    more = text ? JSON.parse(text) : {};
  } catch (error) {
    throw new z.errors.Error(`More Input is not valid JSON: ${error.message}`, 'invalid_request', 400);
  }
  if (more === null || typeof more !== 'object' || Array.isArray(more)) {
    throw new z.errors.Error('More Input must be a JSON object.', 'invalid_request', 400);
  }
  return more;
};

const submit = async (z, bundle) => {
  const { provider, model, task_type: name, metadata, wait, more_json: more, idempotency_key: key } = bundle.inputData;
  const body = {
    provider,
    model,
    task_type: name,
    input: { ...inputOf(bundle.inputData), ...moreInput(z, more) },
    metadata: metadata || {},
  };
  if (wait !== false) {
    body.callback_url = z.generateCallbackUrl();
  }
  const response = await z.request({
    url: url(bundle, '/v1/tasks'),
    method: 'POST',
    headers: key ? { 'Idempotency-Key': key } : {},
    body,
  });
  return response.data;
};

module.exports = {
  key: 'submit_task',
  noun: 'Task',
  display: {
    label: 'Submit a Task',
    description: 'Runs a task at PiAPI or ModelsLab and waits for its result.',
  },
  operation: {
    inputFields: [
      {
        key: 'provider',
        label: 'Provider',
        required: true,
        dynamic: 'provider_choice.id.name',
        altersDynamicFields: true,
      },
      { key: 'model', label: 'Model', required: true, dynamic: 'model_choice.id.name', altersDynamicFields: true },
      {
        key: 'task_type',
        label: 'Task Type',
        required: true,
        dynamic: 'task_type_choice.id.name',
        altersDynamicFields: true,
      },
      taskFields,
      { key: 'metadata', label: 'Metadata', dict: true, helpText: 'Your own values, given back with every event.' },
      {
        key: 'idempotency_key',
        label: 'Idempotency Key',
        helpText: 'Such as an order number: a second run with the same key gives the first task and is not paid again.',
      },
      {
        key: 'wait',
        label: 'Wait for the Result',
        type: 'boolean',
        default: 'yes',
        helpText: 'Yes: the Zap goes on when the task is finished. No: it goes on at once, with the queued task.',
      },
    ],
    perform: submit,
    // Callbridge posts the finishing event to the callback address.
    performResume: (z, bundle) => bundle.cleanedRequest.data,
    sample,
    outputFields: [
      { key: 'id', label: 'Task ID' },
      { key: 'status', label: 'Status' },
      { key: 'output__url', label: 'Result URL' },
      { key: 'output__text', label: 'Result Text' },
      { key: 'error__message', label: 'Error' },
    ],
  },
};

'use strict';

const { catalog } = require('../lib/api');

/** Hidden triggers: Zapier asks them for the entries of a drop-down. */
const choice = (key, label, list) => ({
  key,
  noun: label,
  display: { label, description: `Lists each ${label.toLowerCase()} for a drop-down.`, hidden: true },
  operation: {
    perform: async (z, bundle) => list(await catalog(z, bundle), bundle.inputData).map((name) => ({ id: name, name })),
  },
});

const models = (providers, input) =>
  providers.filter(({ provider }) => provider === input.provider).flatMap((entry) => entry.models);

module.exports = [
  choice('provider_choice', 'Provider', (providers) => providers.map(({ provider }) => provider)),
  choice('model_choice', 'Model', (providers, input) => models(providers, input).map(({ model }) => model)),
  choice('task_type_choice', 'Task Type', (providers, input) =>
    models(providers, input)
      .filter(({ model }) => model === input.model)
      .flatMap((entry) => entry.task_types.map(({ task_type: name }) => name)),
  ),
];

'use strict';

const { url } = require('./lib/api');

module.exports = {
  type: 'custom',
  fields: [
    {
      key: 'url',
      label: 'Address of Callbridge',
      required: true,
      type: 'string',
      placeholder: 'https://bridge.example.com',
      helpText: 'Where your Callbridge runs, without a path.',
    },
    {
      key: 'key',
      label: 'API Key',
      required: true,
      type: 'password',
      helpText: 'One of the keys in `API_KEYS` of your Callbridge, without the name in front.',
    },
  ],
  test: async (z, bundle) => {
    await z.request({ url: url(bundle, '/v1/tasks'), params: { limit: 1 } });
    return { address: new URL(bundle.authData.url).host };
  },
  connectionLabel: '{{address}}',
};

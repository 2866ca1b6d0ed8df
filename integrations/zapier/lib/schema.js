'use strict';

const { url } = require('./api');

// These are filled by Callbridge.
const HIDDEN = new Set(['key', 'api_key', 'webhook', 'track_id', 'webhook_config', 'model', 'stream']);
const PREFIX = 'input_';
const TYPES = { string: 'string', integer: 'integer', number: 'number', boolean: 'boolean' };

/** Loads input schemas of Callbridge and follows `$ref` and `allOf`, each document once. */
class Schemas {
  constructor(z, bundle) {
    this.z = z;
    this.bundle = bundle;
    this.documents = new Map();
  }

  /** The schema at `reference` (an absolute path and perhaps a fragment) with its properties merged into one object. */
  async flat(reference) {
    const [path, fragment = ''] = reference.split('#');
    let schema = await this.document(path);
    for (const step of fragment.split('/').filter(Boolean)) {
      schema = schema[step.replace(/~1/g, '/').replace(/~0/g, '~')];
    }
    return this.merged(schema, path);
  }

  async merged(schema, path) {
    const parts = [];
    if (schema.$ref) {
      parts.push(await this.flat(new URL(schema.$ref, `http://schemas${path}`).href.slice('http://schemas'.length)));
    }
    for (const part of schema.allOf || []) {
      parts.push(await this.merged(part, path));
    }
    const properties = {};
    for (const [name, value] of Object.entries(schema.properties || {})) {
      properties[name] = value === false ? false : await this.merged(value === true ? {} : value, path);
    }
    return parts.concat([{ ...schema, properties }]).reduce(
      (whole, part) => ({
        ...whole,
        ...part,
        required: [...new Set([...(whole.required || []), ...(part.required || [])])],
        properties: { ...whole.properties, ...part.properties },
      }),
      {},
    );
  }

  async document(path) {
    if (!this.documents.has(path)) {
      const response = await this.z.request({ url: url(this.bundle, path) });
      this.documents.set(path, response.data);
    }
    return this.documents.get(path);
  }
}

/** One Zapier field for each property of the input; what is no plain value is a field for JSON. */
const fieldsOf = (schema) =>
  Object.entries(schema.properties)
    .filter(([name, property]) => !HIDDEN.has(name) && property !== false && property.not === undefined)
    .map(([name, property]) => ({
      key: PREFIX + name,
      label: name,
      required: schema.required.includes(name),
      helpText: helpOf(property),
      ...shapeOf(property),
      ...(isPlain(property.default) ? { default: String(property.default) } : {}),
    }));

const shapeOf = (property) => {
  if (property.enum) {
    return { type: 'string', choices: property.enum.filter((value) => value !== null).map(String) };
  }
  const kinds = [].concat(property.type || []).filter((kind) => kind !== 'null');
  // ModelsLab takes numbers as text: a text field holds both.
  return kinds.length === 1 && TYPES[kinds[0]]
    ? { type: TYPES[kinds[0]] }
    : { type: kinds.length > 0 && kinds.every((kind) => TYPES[kind]) ? 'string' : 'text' };
};

const helpOf = (property) => {
  const range =
    property.minimum !== undefined && property.maximum !== undefined
      ? `From ${property.minimum} to ${property.maximum}.`
      : '';
  const json = shapeOf(property).type === 'text' ? 'JSON.' : '';
  return [property.description, range, json].filter(Boolean).join(' ').slice(0, 1000) || undefined;
};

const isPlain = (value) => ['string', 'number', 'boolean'].includes(typeof value);

/** The task's input out of what the user filled in. JSON stays what it is; everything else is a plain value. */
const inputOf = (inputData) => {
  const input = {};
  for (const [key, value] of Object.entries(inputData)) {
    if (key.startsWith(PREFIX) && value !== '' && value !== null && value !== undefined) {
      input[key.slice(PREFIX.length)] = typeof value === 'string' && /^\s*[[{]/.test(value) ? parsed(value) : value;
    }
  }
  return input;
};

const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

module.exports = { Schemas, fieldsOf, inputOf };

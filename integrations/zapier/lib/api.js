'use strict';

/** The address of `path` at the user's Callbridge. */
const url = (bundle, path) => bundle.authData.url.replace(/\/+$/, '') + path;

/** The key goes to the user's own Callbridge and to nobody else. */
const addKey = (request, z, bundle) => {
  const home = bundle.authData.url && new URL(bundle.authData.url).origin;
  if (home && new URL(request.url).origin === home) {
    request.headers.Authorization = `Bearer ${bundle.authData.key}`;
  }
  return request;
};

/** Callbridge answers errors with a sentence and a pointer to each wrong field (RFC 9457): show them. */
const raiseProblem = (response, z) => {
  if (response.status < 400 || response.skipThrowForStatus) {
    return response;
  }
  let problem = {};
  try {
    problem = z.JSON.parse(response.content);
  } catch {
    // A proxy in between answered, not Callbridge.
  }
  const faults = (problem.errors || []).map((fault) => `${fault.pointer}: ${fault.detail}`);
  const message = [problem.detail || `Callbridge answered ${response.status}.`, ...faults].join(' ');
  if (response.status === 429) {
    throw new z.errors.ThrottledError(message, Number(response.getHeader('retry-after')) || 60);
  }
  throw new z.errors.Error(message, problem.code || 'unexpected_response', response.status);
};

/** Every model with its task types, as the catalogue lists them. */
const catalog = async (z, bundle) => {
  const response = await z.request({ url: url(bundle, '/v1/catalog') });
  return response.data.providers;
};

module.exports = { addKey, catalog, raiseProblem, url };

'use strict';

// Against a running Callbridge with pretend providers: CALLBRIDGE_URL and CALLBRIDGE_KEY say where.
const assert = require('node:assert/strict');
const http = require('node:http');
const { after, before, test } = require('node:test');
const zapier = require('zapier-platform-core');

const App = require('../index');

zapier.tools.env.inject();
const appTester = zapier.createAppTester(App);
const authData = { url: process.env.CALLBRIDGE_URL, key: process.env.CALLBRIDGE_KEY };
const TASK = { provider: 'piapi', model: 'Qubico/flux1-schnell', task_type: 'txt2img' };
const PROMPT = 'a cat [sandbox: delay=0.05]';

/** A small receiver in place of Zapier's hook address; `next()` resolves with the next body that comes. */
const received = [];
const waiting = [];
const receiver = http.createServer((request, response) => {
  let body = '';
  request.on('data', (piece) => (body += piece));
  request.on('end', () => {
    response.writeHead(200).end();
    const taken = waiting.shift();
    taken ? taken(JSON.parse(body)) : received.push(JSON.parse(body));
  });
});
const next = () =>
  received.length ? Promise.resolve(received.shift()) : new Promise((resolve) => waiting.push(resolve));

before(() => new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve)));
after(() => receiver.close());

const submit = (inputData) => appTester(App.creates.submit_task.operation.perform, { authData, inputData });

test('the app passes the validation of Zapier', () => {
  const { errors } = require('zapier-platform-schema').validateAppDefinition(definition());
  assert.deepEqual(errors, []);
});

test('the key and address are tried when they are entered', async () => {
  const label = await appTester(App.authentication.test, { authData });
  assert.equal(label.address, new URL(authData.url).host);
  await assert.rejects(appTester(App.authentication.test, { authData: { ...authData, key: 'wrong' } }), /401|key/i);
});

test('a Zap is subscribed, told and unsubscribed', async () => {
  const { operation } = App.triggers.event;
  const bundle = { authData, inputData: { events: ['task.completed'] }, targetUrl: hookAddress() };
  const subscribeData = await appTester(operation.performSubscribe, bundle);
  const task = await submit({ ...TASK, input_prompt: PROMPT, wait: false });
  const cleanedRequest = await next();
  const [event] = await appTester(operation.perform, { ...bundle, subscribeData, cleanedRequest });
  assert.equal(event.type, 'task.completed');
  assert.equal(event.data.id, task.id);
  const [latest] = await appTester(operation.performList, bundle);
  assert.equal(latest.id, event.id);
  assert.deepEqual(await appTester(operation.performUnsubscribe, { ...bundle, subscribeData }), { removed: true });
  assert.deepEqual(await appTester(operation.performUnsubscribe, { ...bundle, subscribeData }), { removed: true });
});

test('the drop-downs come from the catalogue', async () => {
  const ask = async (key, inputData) =>
    (await appTester(App.triggers[key].operation.perform, { authData, inputData })).map(({ id }) => id);
  assert.ok((await ask('provider_choice', {})).includes('modelslab'));
  assert.ok((await ask('model_choice', { provider: 'piapi' })).includes(TASK.model));
  assert.ok((await ask('task_type_choice', TASK)).includes('img2img'));
});

test('the form has a field for each property of the input schema', async () => {
  const fields = await appTester(dynamicFields(), { authData, inputData: TASK });
  const prompt = fields.find(({ key }) => key === 'input_prompt');
  assert.equal(prompt.required, true);
  assert.equal(fields.find(({ key }) => key === 'input_width').type, 'integer');
  const modelslab = { provider: 'modelslab', model: 'flux', task_type: 'img2img' };
  const keys = (await appTester(dynamicFields(), { authData, inputData: modelslab })).map(({ key }) => key);
  assert.ok(keys.includes('input_init_image'));
  assert.ok(!keys.includes('input_key') && !keys.includes('input_webhook'));
});

test('a submitted task goes on at once or with its result', async () => {
  const task = await submit({ ...TASK, input_prompt: PROMPT, metadata: { order: 'Z-1' }, wait: false });
  assert.equal(task.status, 'queued');
  assert.equal(task.callback_url, null);
  const waits = await submit({ ...TASK, input_prompt: PROMPT });
  assert.match(waits.callback_url, /^https:/);
  const resumed = await appTester(App.creates.submit_task.operation.performResume, {
    authData,
    cleanedRequest: { type: 'task.completed', data: { id: waits.id, status: 'completed' } },
  });
  assert.equal(resumed.status, 'completed');
});

test('the same idempotency key is one task', async () => {
  const once = { ...TASK, input_prompt: PROMPT, wait: false, idempotency_key: 'zap-1' };
  assert.equal((await submit(once)).id, (await submit(once)).id);
});

test('a refused input names the field', async () => {
  await assert.rejects(submit({ ...TASK, input_prompt: PROMPT, more_json: '{"width": "wide"}', wait: false }), /\/input\/width/);
  await assert.rejects(submit({ ...TASK, more_json: '[1]', wait: false }), /JSON object/);
});

test('a task is found by its id and by metadata', async () => {
  const { perform } = App.searches.find_task.operation;
  const find = (inputData) => appTester(perform, { authData, inputData });
  const task = await submit({ ...TASK, input_prompt: PROMPT, metadata: { order: 'Z-2' }, wait: false });
  assert.equal((await find({ id: task.id }))[0].id, task.id);
  assert.equal((await find({ metadata_key: 'order', metadata_value: 'Z-2' }))[0].id, task.id);
  assert.deepEqual(await find({ id: 'tsk_00000000000000000000000000000000' }), []);
});

function hookAddress() {
  return `http://127.0.0.1:${receiver.address().port}/hook`;
}

function dynamicFields() {
  return App.creates.submit_task.operation.inputFields.find((field) => typeof field === 'function');
}

function definition() {
  // Functions stand in the definition as what the schema knows them by.
  return JSON.parse(
    JSON.stringify(App, (name, value) => (typeof value === 'function' ? { source: 'return null' } : value)),
  );
}
